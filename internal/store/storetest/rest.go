package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/store"
)

// record makes a finding about the story's workload.
func record(id finding.ID, minutes int, key string) history.Record {
	return history.Record{Finding: finding.Finding{
		ID: id, Severity: finding.High, Time: Noon.Add(time.Duration(minutes) * time.Minute), Form: "form",
		Subject: finding.Subject{
			Cluster: "x", Namespace: "shop", Workload: "Deployment/web", Revision: "r1", Pod: "web-a",
			Container: "app", Kind: "container", Node: "n1",
		},
		Image: "nginx:1.25", Message: "a message with \"quotes\"", Fix: "a fix",
		Evidence: []finding.Evidence{{Name: "digest", Value: Digest(7)}}, Key: key,
	}}
}

func testFindings(t *testing.T, open opener) {
	s := open(t)
	ctx := t.Context()
	a, b, c := record(finding.TW04, 1, "a"), record(finding.F01, 3, "b"), record(finding.TW04, 2, "c")
	b.Delivered = history.Sending
	c.Subject.Workload, c.Image = "StatefulSet/db", "not an image"
	s.write(&store.Batch{Findings: []history.Record{a, b, c}})

	// What is found again stays as it is.
	again := a
	again.Delivered, again.Message = history.Delivered, "another"
	s.write(&store.Batch{Findings: []history.Record{again}})
	for _, tc := range []struct {
		name string
		q    history.Query
		ids  []finding.ID
		want []history.Record
	}{
		{"the newest first", history.Query{}, nil, []history.Record{b, c, a}},
		{"limit", history.Query{Limit: 2}, nil, []history.Record{b, c}},
		{"id", history.Query{}, []finding.ID{finding.TW04, finding.TW05}, []history.Record{c, a}},
		{"workload", history.Query{Workload: "web"}, nil, []history.Record{b, a}},
		{"kind and workload", history.Query{Workload: "statefulset/db"}, nil, []history.Record{c}},
		{"kind of another", history.Query{Workload: "Job/db"}, nil, nil},
		{"time", history.Query{From: c.Time, To: c.Time}, nil, []history.Record{c}},
		{"repository", history.Query{Repository: "docker.io/library/nginx"}, nil, []history.Record{b, a}},
		{"digest", history.Query{Digest: Digest(7)}, nil, []history.Record{b, c, a}},
		{"another digest", history.Query{Digest: Digest(8)}, nil, nil},
		{"all of it", history.Query{Cluster: "x", Namespace: "shop", Container: "app", Pod: "web-a"}, nil, []history.Record{b, c, a}},
		{"another cluster", history.Query{Cluster: "y"}, nil, nil},
		{"another namespace", history.Query{Namespace: "y"}, nil, nil},
		{"another container", history.Query{Container: "y"}, nil, nil},
		{"another pod", history.Query{Pod: "y"}, nil, nil},
	} {
		if diff := cmp.Diff(tc.want, collect(t, s.Findings(ctx, tc.q, tc.ids...))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}

	undelivered := func(want ...history.Record) {
		t.Helper()
		got, err := s.Undelivered(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("undelivered (-want +got):\n%s", diff)
		}
	}
	undelivered(a, c, b)
	s.write(&store.Batch{Sending: []string{a.Fingerprint()}, Delivered: []string{b.Fingerprint(), strings.Repeat("0", 32)}})
	a.Delivered = history.Sending
	undelivered(a, c)
	s.reopen()
	s.write(&store.Batch{Delivered: []string{a.Fingerprint()}})
	s.write(&store.Batch{Sending: []string{a.Fingerprint()}})
	undelivered(c)
}

func testBaselines(t *testing.T, open opener) {
	s := open(t)
	ctx := t.Context()
	web := history.Subject{Cluster: "x", Namespace: "shop", Workload: event.Workload{Kind: "Deployment", Name: "web"}, Container: "app"}
	all := []history.Baseline{
		{Subject: web, Reference: "docker.io/library/nginx:1.25", Digest: Digest(1), Origin: history.Approved, By: "ann", Why: "ticket 5", At: Noon},
		{Reference: "docker.io/library/nginx:1.25", Digest: Digest(2), Origin: history.Lock, By: "lock.yaml", At: Noon.Add(1)},
		{Subject: history.Subject{Namespace: "bank"}, Reference: "r", Digest: Digest(3), Origin: history.Approved, By: "bob", At: Noon},
		{Subject: web, Reference: "docker.io/library/nginx:1.25", Digest: Digest(1), Origin: history.Approved, By: "bob", At: Noon},
	}
	for i := range all {
		var err error
		if all[i].ID, err = s.AddBaseline(ctx, all[i]); err != nil {
			t.Fatal(err)
		}
	}
	for i, b := range all {
		if b.ID != int64(i+1) {
			t.Errorf("baseline %d has number %d", i+1, b.ID)
		}
	}
	check := func(subject history.Subject, want ...history.Baseline) {
		t.Helper()
		got, err := s.Baselines(ctx, subject)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("baselines of %+v (-want +got):\n%s", subject, diff)
		}
	}
	check(history.Subject{}, all...)
	check(web, all[0], all[1], all[3])
	check(history.Subject{Namespace: "bank"}, all[1], all[2])
	other := web
	other.Container = "side"
	check(other, all[1])

	if err := s.RemoveBaseline(ctx, 4); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveBaseline(ctx, 4); err == nil || !strings.Contains(err.Error(), "no baseline 4") {
		t.Errorf("removed twice: %v", err)
	}
	s.reopen()
	check(history.Subject{}, all[:3]...)
	if id, err := s.AddBaseline(ctx, all[0]); err != nil || id != 5 {
		t.Errorf("a number was given twice: %d, %v", id, err)
	}

	for what, change := range map[string]func(*history.Baseline){
		"reference": func(b *history.Baseline) { b.Reference = "" },
		"digest":    func(b *history.Baseline) { b.Digest = "" },
		"origin":    func(b *history.Baseline) { b.Origin = "" },
		"name":      func(b *history.Baseline) { b.By = "" },
		"time":      func(b *history.Baseline) { b.At = time.Time{} },
	} {
		b := all[0]
		change(&b)
		if _, err := s.AddBaseline(ctx, b); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("without %s: %v", what, err)
		}
	}
}

func testContents(t *testing.T, open opener) {
	s := open(t)
	ctx := t.Context()
	index := store.Content{Digest: Digest(1), Kind: "index", Learned: Noon, Children: []store.Child{{Digest: Digest(3), Platform: "linux/arm64"}, {Digest: Digest(2), Platform: "linux/amd64"}}}
	manifest := store.Content{Digest: Digest(2), Kind: "manifest", Platform: "linux/amd64", Config: Digest(4), Learned: Noon}
	if err := s.PutContents(ctx, index, manifest); err != nil {
		t.Fatal(err)
	}
	want := []store.Content{manifest, index}
	got, err := s.Contents(ctx, Digest(2), Digest(9), Digest(4), Digest(1))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// In a batch, too; the new takes the place of the old.
	index.Children, index.Learned = index.Children[:1], Noon.Add(time.Hour)
	odd := store.Content{Digest: "sha512:" + strings.Repeat("0", 128), Kind: "manifest"}
	s.write(&store.Batch{Contents: []store.Content{index, odd}, Now: Noon, Same: [][]string{{Digest(2), Digest(1)}, {Digest(1)}, {}, {Digest(1), Digest(1)}}})
	s.reopen()
	if got, err = s.Contents(ctx, Digest(1), odd.Digest); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]store.Content{index, odd}, got); diff != "" {
		t.Errorf("after another batch (-want +got):\n%s", diff)
	}
	if err := s.PutSame(ctx, Noon.Add(48*time.Hour), []string{Digest(1), Digest(2)}, []string{Digest(3), odd.Digest, Digest(1)}, []string{Digest(1), Digest(3), odd.Digest}); err != nil {
		t.Fatal(err)
	}
	groups := collect(t, s.Same(ctx))
	slices.SortFunc(groups, slices.Compare)
	if diff := cmp.Diff([][]string{{Digest(1), Digest(2)}, {Digest(1), Digest(3), odd.Digest}}, groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	for range s.Same(ctx) {
		break
	}
}

func testRetain(t *testing.T, open opener) {
	s := open(t)
	ctx := t.Context()
	// web has run r1.d1 for a minute, then r1.d2, then r2.d1 for a while and
	// r1.d3 until now; cron ran and is over; old is gone since long ago.
	s.tell(`0 +a r1.d1
		1 -a
		1 +b r1.d2
		2 -b
		2 +c r2.d1
		3 -c
		3 +d r1.d3
		3 +elsewhere r1.d3
		3 -elsewhere
		4 +e r3.d1
		5 -e
		9 beat`)
	other := func(name, id string, minutes int) *store.Batch {
		e := start(Noon.Add(time.Duration(minutes)*time.Minute), id, "j."+Digest(5))
		e.Workload, e.Pod, e.Node, e.Reference = event.Workload{Kind: "CronJob", Name: name}, name, name, "redis:"+name
		f := record(finding.TW04, minutes, name)
		f.Subject.Cluster, f.Subject.Workload, f.Subject.Revision, f.Delivered = "", "CronJob/"+name, "j", history.Delivered
		waiting := record(finding.TW05, minutes, name)
		return &store.Batch{
			Starts: []*event.Start{e}, Ends: []*event.End{{Time: e.Time.Add(time.Minute), ContainerID: id}},
			Findings: []history.Record{f, waiting},
		}
	}
	s.write(other("old", "o", 1))
	s.write(other("cron", "p", 50))
	// A container beside, which has ended in all revisions.
	for i, revision := range []string{"r1", "r2"} {
		e := start(Noon.Add(time.Duration(i)*time.Minute), "init"+revision, revision+".d7")
		e.Container, e.Kind = "init", event.Init
		s.write(&store.Batch{Starts: []*event.Start{e}, Ends: []*event.End{{Time: e.Time.Add(time.Second), ContainerID: e.ContainerID}}})
	}
	live := record(finding.F01, 0, "live")
	live.Subject.Cluster, live.Delivered = "", history.Delivered
	s.write(&store.Batch{Findings: []history.Record{live}})
	if err := s.PutContents(ctx,
		store.Content{Digest: Digest(5), Kind: "index", Learned: Noon, Children: []store.Child{{Digest: Digest(6), Platform: "linux/amd64"}}},
		store.Content{Digest: Digest(6), Kind: "manifest", Learned: Noon},
		store.Content{Digest: Digest(7), Kind: "manifest", Learned: Noon},
		store.Content{Digest: Digest(8), Kind: "manifest", Learned: Noon.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := s.PutSame(ctx, Noon, []string{Digest(10), Digest(11)}); err != nil {
		t.Fatal(err)
	}
	if err := s.PutSame(ctx, Noon.Add(time.Hour), []string{Digest(10), Digest(12)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddBaseline(ctx, history.Baseline{Reference: "r", Digest: Digest(13), Origin: history.Lock, By: "b", At: Noon}); err != nil {
		t.Fatal(err)
	}

	removed, err := s.Retain(ctx, Noon.Add(30*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	// a, b, c, old's and init's first.
	if removed != 5 {
		t.Errorf("removed %d intervals, want 5", removed)
	}
	var left []string
	for _, i := range s.all(history.Query{}) {
		left = append(left, fmt.Sprintf("%s %s.%s %s", i.Workload.Name, i.Revision, i.ContainerID, strings.Join(i.Nodes, ",")))
	}
	if diff := cmp.Diff([]string{"cron j.p cron", "web r1.d n-d,n-elsewhere", "web r3.e n-e", "web r2.initr2 n-initr2"}, left); diff != "" {
		t.Errorf("intervals (-want +got):\n%s", diff)
	}
	seen, err := s.Seen(ctx, history.SubjectOf(start(Noon, "", "")))
	if err != nil {
		t.Fatal(err)
	}
	left = nil
	for _, o := range seen {
		left = append(left, o.Revision+"."+o.Digest)
	}
	if diff := cmp.Diff([]string{"r1.d1", "r1.d2", "r1.d3", "r3.d1"}, left); diff != "" {
		t.Errorf("what the revision that runs was first seen to run (-want +got):\n%s", diff)
	}
	revisions, err := s.Revisions(ctx, history.Query{})
	if err != nil {
		t.Fatal(err)
	}
	left = nil
	for _, r := range revisions {
		left = append(left, r.Workload.Name+" "+r.Name)
	}
	if diff := cmp.Diff([]string{"cron j", "web r1", "web r2", "web r3"}, left); diff != "" {
		t.Errorf("revisions (-want +got):\n%s", diff)
	}
	left = nil
	for _, f := range collect(t, s.Findings(ctx, history.Query{})) {
		left = append(left, string(f.ID)+" "+f.Key)
	}
	if diff := cmp.Diff([]string{"TW-05 cron", "TW-04 cron", "TW-05 old", "F-01 live"}, left); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	contents, err := s.Contents(ctx, Digest(5), Digest(6), Digest(7), Digest(8))
	if err != nil {
		t.Fatal(err)
	}
	left = nil
	for _, c := range contents {
		left = append(left, c.Digest)
	}
	if diff := cmp.Diff([]string{Digest(5), Digest(6), Digest(8)}, left); diff != "" {
		t.Errorf("contents (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([][]string{{Digest(10), Digest(12)}}, collect(t, s.Same(ctx))); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if got, err := s.Baselines(ctx, history.Subject{}); err != nil || len(got) != 1 {
		t.Errorf("baselines: %v, %v", got, err)
	}

	// What was removed can come again.
	s.write(other("old", "q", 60))
	s.tell(`60 +r r2.d1`)
	if removed, err = s.Retain(ctx, Noon); err != nil || removed != 0 {
		t.Errorf("removed again: %d, %v", removed, err)
	}
	if got := len(s.all(history.Query{Workload: "old"})); got != 1 {
		t.Errorf("old came back with %d intervals", got)
	}
}
