// Command pulumi-resource-kubernetes is Pulumi's own Kubernetes provider. Its published main embeds a schema that is
// generated at release time and in no module; the engine asks for a schema only to generate SDKs.
package main

import (
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version"
)

func main() {
	provider.Serve("kubernetes", version.Version, []byte("{}"), []byte("{}"))
}
