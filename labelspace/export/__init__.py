"""Trained models for other programs: a folder as model hubs have them, and ONNX graphs."""
