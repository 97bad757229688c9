"""Figures of models side by side and of single runs, drawn with matplotlib and seaborn."""
