package render

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
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
func Kustomize(ctx context.Context, read Reader, folder string) (Kustomized, error) {
	found := Kustomized{Files: map[string][]byte{}}
	folder = path.Clean(folder)
	g := gatherer{read: read, files: found.Files, seen: map[string]bool{}}
	var err error
	if found.Bases, err = g.folder(folder); err != nil {
		return found, oneLine(err)
	}
	if !g.composes {
		return found, nil
	}
	found.Data, err = bounded(ctx, func() ([]byte, error) {
		tree := filesys.MakeFsInMemory()
		for name, data := range found.Files {
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
	})
	return found, err
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
	for _, word := range composing {
		g.composes = g.composes || strings.Contains(string(data), word)
	}
	for _, name := range names.resources {
		if strings.Contains(name, "\n") {
			continue // A resource written in place.
		}
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
	for _, name := range names.paths {
		if strings.Contains(name, "\n") {
			continue // A patch written in place.
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
	if !names.plugins {
		return bases, nil
	}
	// The configuration of a generator or transformer can name addresses, too.
	for _, name := range slices.Sorted(maps.Keys(g.files)) {
		if strings.Contains(string(g.files[name]), "://") {
			return nil, fmt.Errorf("it has generators or transformers, and %s has an address, which could be fetched", name)
		}
	}
	return bases, nil
}

// inTree is where a name in a kustomization leads to.
func inTree(folder, name string) (string, error) {
	if strings.Contains(name, "://") || strings.HasPrefix(name, "git@") {
		return "", fmt.Errorf("%s is remote, which is not fetched", name)
	}
	at := path.Join(folder, name)
	if path.IsAbs(name) || at == ".." || strings.HasPrefix(at, "../") {
		return "", fmt.Errorf("%s is outside of what is scanned", name)
	}
	return at, nil
}

// kustomizationNaming is what a kustomization names.
type kustomizationNaming struct {
	// resources are files and folders of manifests, paths all others.
	resources, paths []string
	// plugins says that it configures generators, transformers or validators.
	plugins bool
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
		case key == "helmcharts" || key == "helmchartinflationgenerator":
			return names, errors.New("it inflates a Helm chart, which is not fetched")
		case lists:
			walk(v, func(s string) { names.resources = append(names.resources, s) })
			names.plugins = names.plugins || plugin
		default:
			walk(map[string]any{key: v}, func(string) {})
		}
	}
	slices.Sort(names.resources)
	slices.Sort(names.paths)
	return names, nil
}
