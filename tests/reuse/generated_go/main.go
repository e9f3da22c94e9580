// Serves a model by the SDK that Pulumi generates from the schema, with the engine as Go's Automation API drives it.
package main

import (
	"context"
	"fmt"
	"os"

	"example.com/pulumi-penstock/sdk/go/penstock"
	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"
)

func program(ctx *pulumi.Context) error {
	var model struct{ Path, Digest string }
	settings := config.New(ctx, "")
	settings.RequireObject("model", &model)
	serving, port := "serving/.venv", settings.RequireInt("port")
	served, err := penstock.NewEndpoint(ctx, "late", &penstock.EndpointArgs{
		Platform:  penstock.PlatformArgsArgs{Local: &penstock.LocalPlatformArgsArgs{Serving: &serving}},
		Model:     penstock.ArtifactArgsArgs{Path: pulumi.String(model.Path), Digest: pulumi.String(model.Digest)},
		ModelName: "late",
		Port:      &port,
	})
	if err == nil {
		ctx.Export("url", served.ModelUrl)
		ctx.Export("base", served.Url)
	}
	return err
}

func main() {
	ctx := context.Background()
	stack, err := auto.SelectStackInlineSource(ctx, "local", "generated-go", program, auto.WorkDir("."))
	if err == nil {
		_, err = stack.Up(ctx, optup.ProgressStreams(os.Stdout))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
