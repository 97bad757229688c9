"""Tables for people: in Markdown, in LaTeX and in the terminal."""
