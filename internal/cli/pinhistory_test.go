package cli_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/tagwarden/tagwarden/internal/drift"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/registry/registrytest"
	"github.com/tagwarden/tagwarden/internal/store"
)

// makeHistory is the command "make-history FILE REGISTRY" of scripts: what ran from
// images of the registry, with the contents good, evil and gone.
func makeHistory() {
	ctx, path, host := context.Background(), os.Args[1], os.Args[2]
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	images := registrytest.New()
	digest := func(content string) string { return images.Image("x", "", "linux", "amd64", content).Digest }
	n := 0
	start := func(after time.Duration, namespace, name, revision, repository, content string) *event.Start {
		n++
		id := fmt.Sprint(n)
		return &event.Start{
			Time: at.Add(after), Cluster: "prod", Namespace: namespace, Pod: name + "-" + id, PodUID: id, Node: "n1", Container: "c", ContainerID: id,
			Workload: event.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: name}, Revision: revision,
			Reference: host + "/shop/" + repository + ":1", Digest: digest(content), DigestOf: host + "/shop/" + repository,
		}
	}
	restarted := finding.Finding{
		ID: finding.TW03, Form: drift.FormRestart, Time: at.Add(time.Hour), Image: host + "/shop/restarted:1",
		Subject:  finding.Subject{Cluster: "prod", Namespace: "shop", Workload: "Deployment/restarted", Container: "c"},
		Evidence: []finding.Evidence{{Name: drift.From, Value: digest("good")}, {Name: drift.To, Value: digest("evil")}},
	}
	s, err := store.Open(ctx, path, store.Options{})
	if err == nil {
		err = s.Write(ctx, &store.Batch{
			Cluster: "prod", Now: at.Add(2 * time.Hour),
			Starts: []*event.Start{
				start(0, "shop", "api", "r1", "api", "good"), start(time.Hour, "shop", "api", "r1", "api", "evil"),
				start(0, "a", "two", "r1", "two", "good"), start(0, "b", "two", "r1", "two", "evil"),
				start(0, "shop", "restarted", "r1", "restarted", "good"), start(time.Hour, "shop", "restarted", "r2", "restarted", "evil"),
				start(0, "shop", "gone", "r1", "gone", "gone"),
			},
			Ends:     []*event.End{{Time: at.Add(time.Hour), Cluster: "prod", ContainerID: "5"}},
			Findings: []history.Record{{Finding: restarted}},
		})
	}
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
