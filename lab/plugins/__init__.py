"""The two fallback plugins, used if Pulumi's own can be neither found on PATH nor downloaded."""
