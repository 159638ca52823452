"""The explorer: a local web application for looking at a trained model and editing samples with it."""
