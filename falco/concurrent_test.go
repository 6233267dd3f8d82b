package falco

import (
	"sync"
	"testing"
)

func TestRulesetsAreSharedByGoroutines(t *testing.T) {
	t.Parallel()
	set, results := Load(lab010(t), Options{Catalog: startCatalog(t)})
	if set == nil {
		t.Fatal(problems(results))
	}
	latest := newStart()
	latest.tag = "latest"
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if n := len(set.Evaluate(nil, latest)); n != 1 {
					t.Errorf("%d rules match, want 1", n)
					return
				}
				set.Advise(set.Rules()[0])
			}
		})
	}
	wg.Wait()
}

// TestManyValues: a ruleset about more values than fit on the stack keeps them
// elsewhere, and no memory is left behind.
func TestManyValues(t *testing.T) {
	cond, fields := "t.0 = x", []Field{}
	ev := mapEvent{}
	for i := range 100 {
		name := "t." + string(rune('a'+i%26)) + string(rune('a'+i/26))
		fields = append(fields, Field{Name: name})
		cond += " or (" + name + " = a and " + name + " = b) or " + name + " glob " + string(rune('a'+i%26)) + "?x"
		ev[name] = StringValue("a")
	}
	fields = append(fields, Field{Name: "t.z9"})
	cond = "t.z9 exists" + cond[len("t.0 = x"):] + " or t.z9 = last"
	c, err := Compile(cond, NewCatalog(fields...))
	if err != nil {
		t.Fatal(err)
	}
	if c.Match(ev) {
		t.Error("matches")
	}
	if n := testing.AllocsPerRun(50, func() { c.Match(ev) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
	ev["t.z9"] = StringValue("x")
	if !c.Match(ev) {
		t.Error("does not match")
	}
}
