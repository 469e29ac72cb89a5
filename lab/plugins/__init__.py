"""The two fallback plugins, used where Pulumi's own can be neither found on PATH nor downloaded."""
