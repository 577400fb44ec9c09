//go:build tools

// Package kubernetes pins the Kubernetes programs that the end-to-end tests
// build and run unmodified: it holds no code of its own.
package kubernetes

import (
	_ "k8s.io/kubernetes/cmd/kubelet"
)
