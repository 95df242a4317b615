"""Values to markdown, tables, figures and files."""
