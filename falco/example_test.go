package falco_test

import (
	"fmt"
	"time"

	"github.com/tagwarden/tagwarden/falco"
)

// start is an event of a program of its own: it answers by field name.
type start map[string]string

func (s start) Type() string { return "container" }

func (s start) Field(f *falco.FieldRef) falco.Value {
	if v, ok := s[f.String()]; ok {
		return falco.StringValue(v)
	}
	return falco.Value{}
}

func Example() {
	rules := []byte(`
- rule: Latest
  desc: A container started from an image tagged latest.
  condition: evt.type = container and container.id != host and container.image.tag = latest
  output: Container started from latest (image=%container.image.repository pod=%k8s.pod.name)
  priority: WARNING
  tags: [T1525]
`)
	set, results := falco.Load([]falco.File{{Name: "rules.yaml", Data: rules}}, falco.Options{})
	if set == nil {
		fmt.Println(results[0].Errors[0])
		return
	}
	event := start{"evt.type": "container", "container.id": "3ad7b26ded6d", "container.image.repository": "nginx", "container.image.tag": "latest"}
	for _, rule := range set.Evaluate(nil, event) {
		alert := rule.Alert(event, time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), "node-1")
		fmt.Printf("%s\n%s\n", alert.AppendText(nil), alert.AppendJSON(nil))
	}
	// Output:
	// 12:00:00.000000000: Warning Container started from latest (image=nginx pod=<NA>)
	// {"hostname":"node-1","output":"12:00:00.000000000: Warning Container started from latest (image=nginx pod=<NA>)","output_fields":{"container.image.repository":"nginx","evt.time":1795435200000000000,"k8s.pod.name":null},"priority":"Warning","rule":"Latest","source":"syscall","tags":["T1525"],"time":"2026-11-23T12:00:00.000000000Z"}
}

func ExampleCompile() {
	catalog := falco.DefaultCatalog()
	condition, err := falco.Compile(`container.image.tag != latest`, catalog)
	if err != nil {
		fmt.Println(err)
		return
	}
	// A check on a field without a value is false, whatever the operator.
	fmt.Println(condition.Match(start{"container.image.tag": "1.25"}), condition.Match(start{}))

	_, err = falco.Compile(`container.image.tga = latest`, catalog)
	fmt.Println(err)
	// Output:
	// true false
	// 1:1: filter_check called with nonexistent field container.image.tga
}

func ExampleRuleset_Advise() {
	rules := []byte(`
- rule: Latest or untagged
  desc: d
  condition: container.image.tag = latest or container.image.tag = "" and evt.type = container
  output: o
  priority: WARNING
`)
	set, _ := falco.Load([]falco.File{{Name: "rules.yaml", Data: rules}}, falco.Options{})
	for _, rule := range set.Rules() {
		for _, advice := range set.Advise(rule) {
			fmt.Println(advice.Level, advice.ID)
		}
	}
	// Output:
	// warning precedence
	// warning no-start-guard
	// warning inverted-empty-tag
}
