// Package workload finds out what a pod belongs to: its top controller, the
// revision of that controller's template, and the act that made the revision.
package workload
