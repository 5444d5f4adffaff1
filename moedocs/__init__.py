"""Mixture of Experts and Mixture of Depths, explained with figures that are computed."""

__version__ = "0.1.0"
