// Package kyverno puts reviews to Kyverno's own engine, with its benchmark. It is
// a module of its own because Kyverno is built with older Kubernetes libraries than
// ours, and with hundreds of modules that nothing else here needs.
package kyverno
