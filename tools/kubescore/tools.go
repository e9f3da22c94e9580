//go:build tools

// Package tools names the program whose modules go.mod and go.sum pin: a linter of Kubernetes manifests.
package tools

import _ "github.com/zegl/kube-score/cmd/kube-score"
