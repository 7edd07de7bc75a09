"""Consumes a topic: positions, pages and expired bookmarks."""
