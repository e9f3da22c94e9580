//go:build tools

// Package tools names the program whose modules go.mod and go.sum pin: Pulumi's Python language host. It has a go.mod
// of its own, as the last version of the SDK's module that still carries it is older than the CLI's.
package tools

import _ "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"
