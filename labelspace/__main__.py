"""``python -m labelspace``: the command, where its script is not on the path."""

from labelspace.cli import run

if __name__ == "__main__":
    run()
