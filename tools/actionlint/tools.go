//go:build tools

// Package tools names the program whose modules go.mod and go.sum pin: the linter of GitHub's workflows.
package tools

import _ "github.com/rhysd/actionlint/cmd/actionlint"
