// Stands in for the file of this name in Pulumi's Go SDK for Kubernetes when the provider is compiled. There, a switch
// names each of 167 kinds by its Go type, for the provider's components alone (Chart v4, ConfigGroup v2): compiling the
// types takes 800 s of processor time, more than all else in the provider. Each case makes of apiVersion and kind what
// is made of them here.
package v2

import (
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

type object struct {
	pulumi.CustomResourceState
}

// RegisterResource declares an object that is given as YAML.
func RegisterResource(ctx *pulumi.Context, apiVersion, kind, name string, props pulumi.Input,
	opts ...pulumi.ResourceOption) (pulumi.CustomResource, error) {
	if apiVersion == "v1" {
		apiVersion = "core/v1"
	}
	var res object
	if err := ctx.RegisterResource(fmt.Sprintf("kubernetes:%s:%s", apiVersion, kind), name, props, &res, opts...); err != nil {
		return nil, err
	}
	return &res, nil
}
