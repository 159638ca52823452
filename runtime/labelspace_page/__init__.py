"""onnxruntime-web (MIT licence, copyright Microsoft Corporation) as data; see :mod:`labelspace.explorer.saved.runtime`."""
