"""Reports: what they say (documents), and how they are written (HTML, Markdown, figures, tables)."""
