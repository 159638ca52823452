"""Trained models, a directory each; labelspace finds them as ``demo:NAME``."""
