"""Generators of data whose factors are known."""
