package policy_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/tagwarden/tagwarden/internal/policy"
)

const (
	schemaFile  = "../../docs/tagwarden.schema.json"
	exampleFile = "../../docs/tagwarden.example.yaml"
)

// The published schema is the one of this code.
func TestPublishedSchema(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(policy.JSONSchema()); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(schemaFile, want.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), string(got)); diff != "" {
		t.Errorf("%s is old (go test -update writes it anew):\n%s", schemaFile, diff)
	}
}

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	data, err := json.Marshal(policy.JSONSchema())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON is a YAML document as a validator takes it. Dates stay texts, as they
// are for a JSON schema.
func asJSON(t *testing.T, text []byte) any {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal(text, &n); err != nil {
		t.Fatal(err)
	}
	var plain func(n *yaml.Node)
	plain = func(n *yaml.Node) {
		if n.ShortTag() == "!!timestamp" {
			n.Tag = "!!str"
		}
		for _, c := range n.Content {
			plain(c)
		}
	}
	plain(&n)
	var v any
	if err := n.Decode(&v); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What the schema takes, Parse takes, and the other way round, as far as a
// schema can tell.
func TestSchemaAgreesWithParse(t *testing.T) {
	t.Parallel()
	schema := compile(t)
	example, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	bad, err := os.ReadFile("testdata/bad-values.txt")
	if err != nil {
		t.Fatal(err)
	}
	check := func(text string, want bool) {
		t.Helper()
		_, err := policy.Parse("f", []byte(text), today)
		if (err == nil) != want {
			t.Errorf("Parse:\n%s\n%v", text, err)
		}
		if err := schema.Validate(asJSON(t, []byte(text))); (err == nil) != want {
			t.Errorf("schema:\n%s\n%v", text, err)
		}
	}
	check(string(example), true)
	check("{}", true)
	n := 0
	for line := range strings.Lines(string(bad)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			n++
			check(line, false)
		}
	}
	if n < 20 {
		t.Errorf("%d wrong policies were tried", n)
	}
}

// The keys of the schema are the keys that Parse knows, on every level.
func TestSchemaHasTheKeys(t *testing.T) {
	t.Parallel()
	var walk func(s *policy.Schema, before, after, path string)
	walk = func(s *policy.Schema, before, after, path string) {
		if s.Items != nil {
			walk(s.Items, before+"[", "]"+after, path+"[0]")
			return
		}
		if s.Properties == nil {
			return
		}
		_, err := policy.Parse("f", []byte(before+"text"+after), today)
		var got *policy.Error
		if !errors.As(err, &got) {
			t.Errorf("%s: text is taken for a mapping", path)
			return
		}
		_, list, _ := strings.Cut(got.Message, "with the keys ")
		keys := strings.Split(list, ", ")
		slices.Sort(keys)
		var want []string
		for key, p := range s.Properties {
			want = append(want, key)
			walk(p, before+"{"+key+": ", "}"+after, path+"."+key)
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, keys); diff != "" {
			t.Errorf("%s (-schema +Parse):\n%s", path, diff)
		}
	}
	walk(policy.JSONSchema(), "", "", "")
}

// A structural schema has none of what the API server would refuse
// (apiextensions.k8s.io/v1, "Specifying a structural schema").
func TestStructural(t *testing.T) {
	t.Parallel()
	var walk func(s *policy.Schema, path string)
	walk = func(s *policy.Schema, path string) {
		if s.Type == "" || s.AdditionalProperties != nil || s.Schema != "" || s.ID != "" {
			t.Errorf("%s: not structural: %+v", path, s)
		}
		if s.Type == "array" && s.Items == nil || s.Type == "object" && s.Properties == nil {
			t.Errorf("%s: %s of what?", path, s.Type)
		}
		for key, p := range s.Properties {
			walk(p, path+"."+key)
		}
		if s.Items != nil {
			walk(s.Items, path+"[]")
		}
	}
	walk(policy.SpecSchema(), "policy")
	walk(policy.ExceptionSchema(), "exception")
	if policy.ExceptionSchema().Properties["namespace"] != nil {
		t.Error("an exception in a namespace can name another one")
	}
}
