"""Figures as functions of arrays; each returns a matplotlib figure.

================  ==========================================================================================
:func:`sheets`    grids of images with names of rows and columns; differences
:func:`scatters`  points of the plane by class
:func:`maps`      points of a plane or a line by class or number, with Gaussians as ellipses, and paths
:func:`lines`     curves with intervals
:func:`grids`     matrices of numbers
:func:`write`     any of them as a .png, .svg or .pdf file
================  ==========================================================================================
"""

from labelspace.reporting.colours import COLOURS
from labelspace.reporting.figures.base import render, write
from labelspace.reporting.figures.grids import Grid, grids
from labelspace.reporting.figures.lines import Lines, lines
from labelspace.reporting.figures.points import Map, Scatter, Spot, maps, scatters
from labelspace.reporting.figures.sheets import Sheet, sheets

__all__ = [
    "COLOURS",
    "Grid",
    "Lines",
    "Map",
    "Scatter",
    "Sheet",
    "Spot",
    "grids",
    "lines",
    "maps",
    "render",
    "scatters",
    "sheets",
    "write",
]
