"""Write tables for people: in Markdown, in LaTeX, in the terminal and in notebooks."""
