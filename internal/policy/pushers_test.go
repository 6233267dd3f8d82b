package policy_test

import (
	"testing"

	"github.com/tagwarden/tagwarden/internal/policy"
)

func TestKnownPusher(t *testing.T) {
	p := parse(t, `
knownPushers:
  - image: ghcr.io/acme/**
    names: [ci-bot, "robot$acme+*", "*@acme.iam.gserviceaccount.com"]
  - image: ghcr.io/acme/tools/*
    names: [anna]
  - image: locked/api
    names: []
`)
	for _, test := range []struct {
		image, name   string
		known, listed bool
	}{
		{"ghcr.io/acme/api", "ci-bot", true, true},
		{"ghcr.io/acme/api", "ci-bot2", false, true},
		{"ghcr.io/acme/api", "robot$acme+ci", true, true},
		{"ghcr.io/acme/api", "build@acme.iam.gserviceaccount.com", true, true},
		{"ghcr.io/acme/api", "build@evil.example", false, true},
		{"ghcr.io/acme/api", "anna", false, true},
		{"ghcr.io/acme/tools/x", "anna", true, true},
		{"ghcr.io/acme/tools/x", "ci-bot", true, true},
		// Whom nobody names is not known.
		{"ghcr.io/acme/api", "", false, true},
		{"docker.io/locked/api", "ci-bot", false, true},
		{"docker.io/library/nginx", "ci-bot", false, false},
		{"", "ci-bot", false, false},
	} {
		if known, listed := p.KnownPusher(test.image, test.name); known != test.known || listed != test.listed {
			t.Errorf("%s by %q: got known %t, listed %t", test.image, test.name, known, listed)
		}
	}
	if known, listed := policy.Default().KnownPusher("ghcr.io/acme/api", "ci-bot"); known || listed {
		t.Error("the default policy knows a pusher")
	}
}
