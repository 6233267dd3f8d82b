// Package e2e holds the integration tests: the real Tagwarden against a real
// node. They need root, containerd, runc and the CNI plugins, and take minutes
// where the cluster's parts must be compiled first.
package e2e
