"""The Python language host: runs Pulumi programs and policy packs if Pulumi's own host is not available."""
