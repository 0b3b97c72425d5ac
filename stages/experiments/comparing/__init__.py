"""Variants beside each other: tables and charts."""
