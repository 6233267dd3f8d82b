//go:build !linux

package main

// kubeletPart is empty: pods need Linux. The control plane runs anywhere.
var kubeletPart map[string]func() int
