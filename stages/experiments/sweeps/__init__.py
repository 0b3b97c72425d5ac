"""Sweeps: trials of a recipe's ranges, and the choice of those that continue."""
