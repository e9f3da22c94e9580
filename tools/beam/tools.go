//go:build tools

// Package tools names the program whose modules go.mod and go.sum pin: the Prism runner of Apache Beam.
package tools

import _ "github.com/apache/beam/sdks/v2/go/cmd/prism"
