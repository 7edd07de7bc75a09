"""The version of both connectors."""

__version__ = "0.1.0"
