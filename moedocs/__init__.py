"""Mixture of Experts and Mixture of Depths, computed: configurations, a torch engine, its NumPy twin, and the site they draw."""

__version__ = "0.1.0"
