"""The fallback of `pulumi-resource-docker` 5.2.0: its `getRegistryImage`, and nothing that needs a Docker engine."""
