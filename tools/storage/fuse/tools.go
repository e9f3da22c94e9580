//go:build tools

// Package tools names the program whose modules go.mod and go.sum pin: Cloud Storage FUSE, by which GKE mounts buckets.
package tools

import _ "github.com/googlecloudplatform/gcsfuse/v3"
