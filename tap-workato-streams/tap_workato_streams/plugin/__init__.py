"""The command line, settings, logging and metrics of both connectors; nothing sends requests."""
