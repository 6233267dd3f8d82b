package render

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// kustomizationNames are the names of the file that makes a folder a
// kustomization (https://kubectl.docs.kubernetes.io/references/kustomize/).
var kustomizationNames = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// IsKustomization reports whether a file of this name makes its folder a
// kustomization.
func IsKustomization(name string) bool { return slices.Contains(kustomizationNames, path.Base(name)) }

// A Kustomized is a rendered kustomization.
type Kustomized struct {
	// Data is the stream of its manifests; nil where nothing in it can make
	// a reference that its files do not have.
	Data []byte
	// Files are all files that it and its bases are made of, and Bases the
	// folders of the kustomizations that it names itself.
	Files map[string][]byte
	Bases []string
}

// A Reader reads a file of a tree by its path from the top. ok is false for
// what does not exist.
type Reader func(name string) (data []byte, ok bool, err error)

// Kustomize renders the kustomization in a folder of a tree, as
// "kustomize build" does. One that names what is not in the tree, such as
// a remote base, or that runs a program or inflates a Helm chart, is refused.
func (r *Renderer) Kustomize(ctx context.Context, read Reader, folder string) (Kustomized, error) {
	found, composes, err := gather(read, folder)
	if err != nil || !composes {
		return found, oneLine(err)
	}
	a, err := r.ask(ctx, &request{Files: found.Files, Folder: path.Clean(folder)})
	found.Data = a.Data
	return found, err
}

// gather reads what a kustomization is made of, and says whether it composes
// references.
func gather(read Reader, folder string) (found Kustomized, composes bool, err error) {
	found.Files = map[string][]byte{}
	g := gatherer{read: read, files: found.Files, seen: map[string]bool{}}
	found.Bases, err = g.folder(path.Clean(folder))
	return found, g.composes, err
}

func kustomize(files map[string][]byte, folder string) ([]byte, error) {
	tree := filesys.MakeFsInMemory()
	for name, data := range files {
		if err := tree.WriteFile(absolute(name), data); err != nil {
			return nil, err
		}
	}
	options := krusty.MakeDefaultOptions()
	// The tree holds no more than what was read from the scanned one.
	options.LoadRestrictions = types.LoadRestrictionsNone
	options.PluginConfig = types.DisabledPluginConfig()
	made, err := krusty.MakeKustomizer(options).Run(tree, absolute(folder))
	if err != nil {
		return nil, err
	}
	return made.AsYaml()
}

func absolute(name string) string { return path.Join("/tree", name) }

// composing are what can make a reference that stands in no file.
var composing = []string{"newName", "patch", "replacements", "transformers", "generators", "components", "vars"}

// gatherer reads the files of a kustomization and of all that it names, and
// refuses what would have to be fetched or run.
type gatherer struct {
	read  Reader
	files map[string][]byte
	seen  map[string]bool
	size  int
	// composes says that there is something of composing.
	composes bool
}

// file reads one file.
func (g *gatherer) file(name string) (bool, error) {
	if _, ok := g.files[name]; ok {
		return true, nil
	}
	data, ok, err := g.read(name)
	if err != nil || !ok {
		return false, err
	}
	if g.size += len(data); g.size > MaxSize || len(g.files) >= MaxFiles {
		return false, errTooLarge
	}
	g.files[name] = data
	return true, nil
}

// folder reads a kustomization with all that it names. It returns the folders
// that it names itself.
func (g *gatherer) folder(folder string) (bases []string, err error) {
	if g.seen[folder] {
		return nil, nil
	}
	g.seen[folder] = true
	var data []byte
	for _, name := range kustomizationNames {
		at := path.Join(folder, name)
		if ok, err := g.file(at); err != nil {
			return nil, err
		} else if ok {
			data = g.files[at]
			break
		}
	}
	if data == nil {
		return nil, fmt.Errorf("%s is not in the tree as a file or a kustomization; what is remote is not fetched", folder)
	}
	names, err := namesOf(data)
	if err != nil {
		return nil, err
	}
	if names.component && len(g.seen) == 1 {
		return nil, nil // Others are composed with it; by itself it makes nothing.
	}
	for _, word := range composing {
		g.composes = g.composes || strings.Contains(string(data), word)
	}
	for _, name := range names.resources {
		at, err := inTree(folder, name)
		if err != nil {
			return nil, err
		}
		if ok, err := g.file(at); err != nil {
			return nil, err
		} else if ok {
			continue
		}
		bases = append(bases, at)
		if _, err := g.folder(at); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Concat(names.paths, names.plugins) {
		if strings.Contains(name, "\n") {
			continue // A patch or a configuration written in place.
		}
		if _, value, ok := strings.Cut(name, "="); ok {
			name = value // KEY=PATH
		}
		at, err := inTree(folder, name)
		if err != nil {
			return nil, err
		}
		if _, err := g.file(at); err != nil { // Kustomize says what is missing.
			return nil, err
		}
	}
	for _, name := range names.plugins {
		// A folder of configurations is a kustomization, too.
		if at, err := inTree(folder, name); err == nil && g.files[at] == nil && !strings.Contains(name, "\n") {
			if _, err := g.folder(at); err != nil {
				return nil, err
			}
		}
	}
	return bases, nil
}

// remote is how a name begins, or what it has in it, that Kustomize can take for
// an address.
var remote = regexp.MustCompile(`(?i)://|@|\n|^git::|^https?:|^(?:www\.)?github\.com`)

// inTree is where a name in a kustomization leads to.
func inTree(folder, name string) (string, error) {
	// Kustomize fetches such names even where there is a folder of that name.
	if remote.MatchString(name) {
		return "", fmt.Errorf("%s is remote, or may be, which is not fetched", name)
	}
	at := path.Join(folder, name)
	if path.IsAbs(name) || at == ".." || strings.HasPrefix(at, "../") {
		return "", fmt.Errorf("%s is outside of what is scanned", name)
	}
	return at, nil
}

// kustomizationNaming is what a kustomization names.
type kustomizationNaming struct {
	// resources are files and folders of manifests, plugins those of generators,
	// transformers and validators, paths all other files.
	resources, plugins, paths []string
	component                 bool
}

// resourceKeys are the fields of a kustomization that list files or folders,
// with true for those of plugins, and pathKeys those whose texts are files.
// Kustomize does not look at the case of a key.
var (
	resourceKeys = map[string]bool{
		"resources": false, "bases": false, "components": false, "crds": false,
		"generators": true, "transformers": true, "validators": true,
	}
	pathKeys = map[string]bool{
		"path": true, "files": true, "envs": true, "env": true, "patches": true, "patchesstrategicmerge": true,
		"patchesjson6902": true, "configurations": true, "openapi": true, "replacements": true,
	}
)

// namesOf finds what a kustomization names, wherever it does.
func namesOf(data []byte) (names kustomizationNaming, err error) {
	var root map[string]any
	if err := yaml.Unmarshal(data, &root); err != nil {
		return names, err
	}
	var walk func(v any, take func(string))
	walk = func(v any, take func(string)) {
		switch v := v.(type) {
		case string:
			take(v)
		case []any:
			for _, x := range v {
				walk(x, take)
			}
		case map[string]any:
			for key, x := range v {
				if pathKeys[strings.ToLower(key)] {
					walk(x, func(s string) { names.paths = append(names.paths, s) })
				} else {
					walk(x, func(string) {})
				}
			}
		}
	}
	for key, v := range root {
		key = strings.ToLower(key)
		plugin, lists := resourceKeys[key]
		switch {
		case key == "kind":
			names.component = v == "Component"
		case key == "helmcharts" || key == "helmchartinflationgenerator":
			return names, errors.New("it inflates a Helm chart, which is not fetched")
		case plugin:
			walk(v, func(s string) { names.plugins = append(names.plugins, s) })
		case lists:
			walk(v, func(s string) { names.resources = append(names.resources, s) })
		default:
			walk(map[string]any{key: v}, func(string) {})
		}
	}
	slices.Sort(names.resources)
	slices.Sort(names.plugins)
	slices.Sort(names.paths)
	return names, nil
}
