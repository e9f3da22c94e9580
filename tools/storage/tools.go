//go:build tools

// Package tools names the program whose modules go.mod and go.sum pin: the emulator of Cloud Storage.
package tools

import _ "github.com/fsouza/fake-gcs-server"
