"""What is measured of models: the judge, edits, probes, all of it at once, and what it means."""
