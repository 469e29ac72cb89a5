"""What changes from one state to another, and how that is told: on a terminal, in Markdown, as JSON."""
