package falco

import (
	"strings"
	"testing"
)

func TestDefaultCatalog(t *testing.T) {
	t.Parallel()
	all := DefaultCatalog().All()
	if len(all) < 250 {
		t.Errorf("%d fields, want those of all classes", len(all))
	}
	classes := map[string]int{}
	for _, f := range all {
		classes[f.Class()]++
		if f.Desc == "" || strings.HasSuffix(f.Desc, ".") {
			t.Errorf("%s: description %q", f.Name, f.Desc)
		}
		if l := (&lexer{in: f.Name}); f.Name != "" {
			if name, _ := l.fieldName(); name != f.Name {
				t.Errorf("%s cannot be written in a condition", f.Name)
			}
		}
		// What describes a container or the event itself can be on a start.
		if start := f.Class() == "container" || f.Class() == "k8s"; start && f.Avail == OnSyscall {
			t.Errorf("%s is not available on a container start", f.Name)
		}
		if sys := f.Class() == "fd" || f.Class() == "user" || f.Class() == "thread"; sys && f.Available() {
			t.Errorf("%s is available on a container start", f.Name)
		}
	}
	for _, class := range []string{"evt", "syscall", "proc", "thread", "user", "group", "fd", "fdlist", "fs", "container", "k8s"} {
		if classes[class] == 0 {
			t.Errorf("no field of class %s", class)
		}
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	cat := DefaultCatalog()
	for name, want := range map[string]string{
		"proc.name": "proc.name", "evt.arg.flags": "evt.arg", "evt.rawarg.res": "evt.rawarg", "thread.cgroup.cpuacct": "thread.cgroup",
		"evt.abspath.src": "evt.abspath", "evt.count.error.file": "evt.count.error.file",
	} {
		if f := cat.Lookup(name); f == nil || f.Name != want {
			t.Errorf("%s: got %v, want %s", name, f, want)
		}
	}
	for _, name := range []string{"proc", "proc.no", "proc.name.x", "container.image.full", ""} {
		if f := cat.Lookup(name); f != nil {
			t.Errorf("%q: got %v, want none", name, f)
		}
	}
	// The argument tells the type of a raw argument.
	for cond, ok := range map[string]bool{"evt.rawarg.res < 0": true, "evt.rawarg.name < x": false, "evt.arg[0] = x": true, "evt.arg[name] = x": false, "evt.arg = x": false, "evt.arg.a[0] = x": false} {
		if _, err := Compile(cond, cat); (err == nil) != ok {
			t.Errorf("%s: got %v, want ok %v", cond, err, ok)
		}
	}
}

func TestBind(t *testing.T) {
	t.Parallel()
	cat, err := DefaultCatalog().With(Field{Name: "my.field", Type: Bool, Slot: 7}).Bind(map[string]int{"container.id": 3})
	if err != nil {
		t.Fatal(err)
	}
	if f := cat.Lookup("my.field"); f.Slot != 7 || f.Type != Bool {
		t.Errorf("got %+v", f)
	}
	if f := cat.Lookup("container.id"); f.Slot != 3 {
		t.Errorf("got %+v", f)
	}
	if f := DefaultCatalog().Lookup("container.id"); f.Slot != 0 {
		t.Errorf("the default catalogue changed: %+v", f)
	}
	if _, err := cat.Bind(map[string]int{"no.such": 1}); err == nil {
		t.Error("an unknown field can be bound")
	}
	c, err := Compile("container.label[app] = web and my.field = true", cat)
	if err != nil {
		t.Fatal(err)
	}
	var refs []string
	for _, f := range c.Fields() {
		refs = append(refs, f.String())
	}
	if got := strings.Join(refs, " "); got != "container.label[app] my.field" {
		t.Errorf("got %s", got)
	}
}
