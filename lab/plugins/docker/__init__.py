"""The fallback of `pulumi-resource-docker` 5.2.0: only its `getRegistryImage`, nothing that needs a Docker engine."""
