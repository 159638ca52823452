"""How fast training and use are, beside what else a person could run: ``labelspace bench``."""
