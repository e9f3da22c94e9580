//go:build tools

// Package tools names the program whose modules go.mod and go.sum pin: what holds manifests against the schemas of their kinds.
package tools

import _ "github.com/yannh/kubeconform/cmd/kubeconform"
