//go:build tools

// Package tools names the program whose modules go.mod and go.sum pin: the language host of programs in YAML.
package tools

import _ "github.com/pulumi/pulumi-yaml/cmd/pulumi-language-yaml"
