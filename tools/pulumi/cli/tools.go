//go:build tools

// Package tools names the program whose modules go.mod and go.sum pin: the Pulumi CLI.
package tools

import _ "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
