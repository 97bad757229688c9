"""The page: one HTML file with tables, figures and runs."""
