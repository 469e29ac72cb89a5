"""A preview's summary on a terminal, as Markdown and as JSON: values in, text out."""
