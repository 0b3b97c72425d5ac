"""Results and recipes: commits and experiments, runs, published results, recipes and their settings."""
