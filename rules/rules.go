// Package rules carries the Falco rules files that come with Tagwarden.
package rules

import _ "embed"

// Tagwarden is tagwarden.yaml, the rules that are used when none are given.
//
//go:embed tagwarden.yaml
var Tagwarden []byte

// Lab010 is lab-010.yaml: the published rules of LAB-010, word for word, with
// the macro and the list that they leave undefined.
//
//go:embed lab-010.yaml
var Lab010 []byte
