// provider is pulumi-resource-kubernetes; its schemas are files that upstream makes beside its own main package, so the
// module that Go's proxies serve cannot be built as it is.
package main

import (
	_ "embed"

	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version"
)

//go:embed schema-embed.json
var schema []byte

//go:embed terraform-mapping-embed.json
var terraform []byte

func main() {
	provider.Serve("kubernetes", version.Version, schema, terraform)
}
