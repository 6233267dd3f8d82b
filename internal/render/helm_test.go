package render_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/tagwarden/tagwarden/internal/render"
)

// TestMain makes the test itself the process that renders.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "serve" {
		if err := render.Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		return
	}
	os.Exit(m.Run())
}

func renderer(t *testing.T) *render.Renderer {
	t.Helper()
	r := &render.Renderer{Command: func(ctx context.Context) *exec.Cmd {
		return exec.CommandContext(ctx, os.Args[0], "serve")
	}}
	t.Cleanup(r.Close)
	return r
}

func filesOf(text string) map[string][]byte {
	files := map[string][]byte{}
	for _, f := range txtar.Parse([]byte(text)).Files {
		files[f.Name] = f.Data
	}
	return files
}

var imageLine = regexp.MustCompile(`(?m)^[ -]*(?:image|app\.image): *(.*)$`)

// imagesOf are the images of a rendered chart, each with the template and the
// line that it is of.
func imagesOf(c render.Chart) []string {
	var all []string
	for _, d := range c.Documents {
		for _, m := range imageLine.FindAllStringSubmatch(string(d.Data), -1) {
			value, comment, _ := strings.Cut(m[1], " #")
			where := d.Template
			if template, line, ok := render.Place(comment); ok {
				where = fmt.Sprintf("%s:%d", template, line)
			}
			all = append(all, where+" "+strings.Trim(strings.TrimSpace(value), `"'`))
		}
	}
	return all
}

const chartYAML = "-- Chart.yaml --\napiVersion: v2\nname: app\nversion: 1.0.0\nappVersion: 2.3.4\n"

func TestHelm(t *testing.T) {
	t.Parallel()
	r := renderer(t)
	for _, test := range []struct {
		name, files string
		want        []string
		missing     string
		err         string // a part of it
	}{
		{
			name: "the tag is the appVersion where the values have none",
			files: chartYAML + `-- values.yaml --
image: {repository: shop/api, tag: ""}
-- templates/a.yaml --
kind: Pod
spec:
  containers:
    - image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
`,
			want: []string{"templates/a.yaml:4 shop/api:2.3.4"},
		},
		{
			name: "a partial makes the reference, with a global registry",
			files: chartYAML + `-- values.yaml --
global: {imageRegistry: reg.example}
image: api
-- templates/_helpers.tpl --
{{- define "app.image" -}}
{{ .Values.global.imageRegistry }}/{{ .Values.image }}:{{ .Chart.AppVersion }}
{{- end }}
-- templates/a.yaml --
kind: Pod
spec: {containers: [
  {name: a,
  image: {{ include "app.image" . | quote }}
  }]}
`,
			// The mark cannot stand within brackets on one line, and can here.
			want: []string{"templates/a.yaml:4 reg.example/api:2.3.4"},
		},
		{
			name: "where a line is trimmed at its end it has no mark",
			files: chartYAML + `-- templates/a.yaml --
a:
  - image: {{ "x:1" -}}
  {{ "" }}
`,
			want: []string{"templates/a.yaml x:1"},
		},
		{
			name:  "a mark that breaks a template is left out",
			files: chartYAML + "-- templates/a.yaml --\na:\n  - image: {{ printf \"x:%s\"\n    .Chart.AppVersion }}\n",
			want:  []string{"templates/a.yaml x:2.3.4"},
		},
		{
			name: "a chart below it, under another name, and one that is switched off",
			files: `-- Chart.yaml --
apiVersion: v2
name: app
version: 1.0.0
dependencies:
  - {name: db, version: 1.0.0, alias: main}
  - {name: extra, version: 1.0.0, condition: extra.enabled}
-- values.yaml --
main: {tag: "16"}
extra: {enabled: false}
-- charts/db/Chart.yaml --
apiVersion: v2
name: db
version: 1.0.0
-- charts/db/values.yaml --
tag: "15"
-- charts/db/templates/sub/a.yaml --
image: postgres:{{ .Values.tag }}
-- charts/extra/Chart.yaml --
apiVersion: v2
name: extra
version: 1.0.0
-- charts/extra/templates/a.yaml --
image: extra:{{ .Chart.Version }}
`,
			want: []string{"charts/db/templates/sub/a.yaml:1 postgres:16"},
		},
		{
			name:    "a dependency that is not there",
			files:   "-- Chart.yaml --\napiVersion: v2\nname: app\nversion: 1.0.0\ndependencies:\n  - {name: db, version: 1.x, repository: https://charts.example}\n",
			missing: "db 1.x",
		},
		{
			name: "hooks count, notes and partials do not",
			files: chartYAML + `-- templates/NOTES.txt --
image: notes:1
-- templates/_x.yaml --
image: part:1
-- templates/tests/t.yaml --
metadata: {annotations: {"helm.sh/hook": test}}
image: hook:1
`,
			want: []string{"templates/tests/t.yaml:2 hook:1"},
		},
		{
			name:  "tpl over values, and files of the chart",
			files: chartYAML + "-- values.yaml --\nt: 'api:{{ .Chart.AppVersion }}'\n-- img.txt --\nfile:1\n-- templates/a.yaml --\nimage: {{ tpl .Values.t . }}\n---\nimage: {{ .Files.Get \"img.txt\" }}\n",
			want:  []string{"templates/a.yaml:1 api:2.3.4", "templates/a.yaml file:1"},
		},
		{name: "what needs a value says so", files: chartYAML + "-- templates/a.yaml --\nimage: {{ required \"set .tag\" .Values.tag }}\n", err: "set .tag"},
		{name: "and what fails", files: chartYAML + "-- templates/a.yaml --\n{{ fail \"no such thing\" }}\n", err: "no such thing"},
		{name: "a partial that includes itself", files: chartYAML + "-- templates/_h.tpl --\n{{ define \"a\" }}{{ include \"a\" . }}{{ end }}\n-- templates/a.yaml --\n{{ include \"a\" . }}\n", err: "nested"},
		{name: "a function that does not exist", files: chartYAML + "-- templates/a.yaml --\n{{ nothing }}\n", err: `function "nothing" not defined`},
		{name: "values that are none", files: chartYAML + "-- values.yaml --\n[a\n", err: "values.yaml"},
		{name: "a library chart", files: "-- Chart.yaml --\napiVersion: v2\nname: lib\nversion: 1.0.0\ntype: library\n", err: "library chart"},
		{name: "a chart without a name", files: "-- Chart.yaml --\napiVersion: v2\n", err: "name"},
		{name: "no chart", files: "-- templates/a.yaml --\na: b\n", err: "Chart.yaml"},
		{name: "an empty folder of a chart", files: "-- Chart.yaml --\n", err: "metadata"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := r.Helm(t.Context(), filesOf(test.files))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "\n") {
					t.Errorf("error %v, want one line with %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if images := imagesOf(got); fmt.Sprint(images) != fmt.Sprint(test.want) {
				t.Errorf("images %q, want %q", images, test.want)
			}
			if missing := strings.Join(got.Missing, ", "); missing != test.missing {
				t.Errorf("missing %q, want %q", missing, test.missing)
			}
		})
	}
}

// A chart learns nothing of the machine that it is rendered on.
func TestHelmLearnsNothing(t *testing.T) {
	t.Setenv("TAGWARDEN_SECRET", "s3cret")
	r := renderer(t)
	for _, call := range []string{`env "TAGWARDEN_SECRET"`, `expandenv "$TAGWARDEN_SECRET"`, `getHostByName "localhost"`, `lookup "v1" "Secret" "" ""`, `.Files.Get "/etc/hostname"`, `.Files.Get "../../../../etc/hostname"`} {
		got, err := r.Helm(t.Context(), filesOf(chartYAML+"-- templates/a.yaml --\nimage: x{{ "+call+" }}\n"))
		text := fmt.Sprint(got, err)
		host, _ := os.Hostname()
		if strings.Contains(text, "s3cret") || strings.Contains(text, "127.0.0.1") || host != "" && strings.Contains(strings.Join(imagesOf(got), " "), host) {
			t.Errorf("%s: %s", call, text)
		}
	}
}

const endless = "{{ range $a := until 40000 }}{{ range $b := until 40000 }}{{ range $c := until 2 }}{{ end }}{{ end }}{{ end }}"

// What loops for ever ends with its process, and the next one is rendered.
func TestHelmEnds(t *testing.T) {
	t.Parallel()
	r := renderer(t)
	r.MaxTime = time.Second // Long enough for a process to start.
	for range 3 {
		_, err := r.Helm(t.Context(), filesOf(chartYAML+"-- templates/a.yaml --\n"+endless+"\n"))
		if err == nil || !strings.Contains(err.Error(), "longer than 1s") {
			t.Errorf("error %v, want that it takes too long", err)
		}
	}
	r.MaxTime = 0
	if got, err := r.Helm(t.Context(), filesOf(chartYAML+"-- templates/a.yaml --\nimage: a:1\n")); err != nil || len(got.Documents) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}

// What is no longer wanted ends, too.
func TestHelmIsCancelled(t *testing.T) {
	t.Parallel()
	r := renderer(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := r.Helm(ctx, filesOf(chartYAML+"-- templates/a.yaml --\n"+endless+"\n"))
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that it was cancelled", err)
	}
}

// What wants more memory than there may be ends, before the machine has none.
func TestHelmMemory(t *testing.T) {
	t.Parallel()
	r := renderer(t)
	const grow = `{{ $s := repeat 1000000 "0123456789" }}{{ range until 10000 }}{{ $s = cat $s $s }}{{ end }}`
	if _, err := r.Helm(t.Context(), filesOf(chartYAML+"-- templates/a.yaml --\n"+grow+"\n")); err == nil ||
		!strings.Contains(err.Error(), "memory") && !strings.Contains(err.Error(), "ended") {
		t.Errorf("error %v, want that it takes too much memory", err)
	}
	if _, err := r.Helm(t.Context(), filesOf(chartYAML)); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

// A program that is none, or that ends, is a reason as any other.
func TestHelmWithoutAProcess(t *testing.T) {
	t.Parallel()
	for program, want := range map[string]string{"/does/not/exist": "start a process", "false": "ended: exit status 1"} {
		r := &render.Renderer{Command: func(ctx context.Context) *exec.Cmd { return exec.CommandContext(ctx, program) }}
		if _, err := r.Helm(t.Context(), filesOf(chartYAML)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", program, err, want)
		}
		r.Close()
	}
}

func TestHelmTooLarge(t *testing.T) {
	t.Parallel()
	files := filesOf(chartYAML)
	files["big.bin"] = make([]byte, render.MaxSize)
	r := renderer(t)
	if _, err := r.Helm(t.Context(), files); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("error %v, want that it is too large", err)
	}
}

func FuzzHelm(f *testing.F) {
	for _, seed := range []string{"image: {{ .Values.a }}\n", "{{- range .Values }}\nimage: {{ . }}{{ end }}", "image: a\r\n  image: {{- \"b\" }}", "a: |\n  image: x\n"} {
		f.Add(seed, "a: b\n")
	}
	f.Fuzz(func(t *testing.T, template, values string) {
		files := filesOf(chartYAML)
		files["templates/a.yaml"], files["values.yaml"] = []byte(template), []byte(values)
		if got, err := render.HelmHere(files); err == nil {
			imagesOf(got)
		}
	})
}
