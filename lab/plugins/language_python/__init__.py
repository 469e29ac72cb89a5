"""The Python language host: runs Pulumi programs and policy packs where Pulumi's own host cannot be had."""
