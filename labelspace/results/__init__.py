"""Whole data sets through a trained model: codes, predictions and edits, as files that other programs read."""
