"""Training: :func:`labelspace.fit`, its options, and run directories."""
