"""Experiments: recipes that train, measure, and print a table."""
