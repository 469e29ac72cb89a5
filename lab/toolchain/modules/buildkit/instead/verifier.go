// Stands in for what verifies signatures of the build cache of GitHub Actions, where that is required, which the lab does
// not use: compiling it, with sigstore, takes 20 s of processor time.
package verifier

import (
	"context"
	"errors"

	"github.com/moby/policy-helpers/types"
	"github.com/opencontainers/go-digest"
)

type Config struct {
	RequireOnline bool
	StateDir      string
}

type Verifier struct{}

type ArtifactVerifyOpt struct{}

var errLeftOut = errors.New("the lab's BuildKit was built without what verifies signatures")

func NewVerifier(Config) (*Verifier, error) { return nil, errLeftOut }

func WithSLSANotRequired() ArtifactVerifyOpt { return ArtifactVerifyOpt{} }

func (*Verifier) VerifyArtifact(context.Context, digest.Digest, []byte, ...ArtifactVerifyOpt) (*types.SignatureInfo, error) {
	return nil, errLeftOut
}
