"""Experiments and reviews. Each module here is a program that make runs; the folders hold the parts they share."""
