"""Draw figures that compare models and figures of single runs, with matplotlib and seaborn."""
