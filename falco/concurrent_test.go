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

// TestProgramsAreMadeOnce: the program for a type of events is made by the first
// that comes, while others wait for it.
func TestProgramsAreMadeOnce(t *testing.T) {
	t.Parallel()
	set, results := Load(generatedRules(95), Options{})
	if set == nil {
		t.Fatal(problems(results))
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { checkPlain(t, set) })
	}
	wg.Wait()
}

// TestManyRules: more rules than an index has room for are asked one by one.
func TestManyRules(t *testing.T) {
	t.Parallel()
	set, results := Load(generatedRules(maxKept+50), Options{})
	if set == nil {
		t.Fatal(problems(results))
	}
	checkPlain(t, set)
}

func TestEvaluateDoesNotAllocate(t *testing.T) {
	for _, n := range []int{2, 25, 95} {
		set, results := Load(generatedRules(n), Options{Catalog: startCatalog(t)})
		if set == nil {
			t.Fatal(problems(results))
		}
		ev := newStart()
		dst := make([]*Rule, 0, n)
		if n := testing.AllocsPerRun(100, func() { dst = set.Evaluate(dst[:0], ev) }); n != 0 || len(dst) > 0 {
			t.Errorf("%v allocations and %d matches, want none", n, len(dst))
		}
	}
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
