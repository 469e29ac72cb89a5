"""The embedded default: toolchain, one-node Kubernetes, registry, BuildKit and fallback plugins."""
