"""What was reached: commits and experiments, runs, published results, recipes, and where a recipe's settings come from."""
