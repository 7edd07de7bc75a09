"""The version of both connectors: the one place that a release changes."""

__version__ = "0.1.0"
