"""Trials of a recipe's ranges, and which of them go on."""
