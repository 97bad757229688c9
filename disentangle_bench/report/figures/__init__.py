"""Draw figures of models side by side and of single runs, with matplotlib and seaborn."""
