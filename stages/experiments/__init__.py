"""Experiments and reviews: the programs behind make, one a module here, and what they consist of, in folders."""
