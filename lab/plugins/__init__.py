"""Stand-ins for Pulumi plugins that can be neither found on PATH nor downloaded."""
