"""Consuming one topic: positions, pages, expired bookmarks."""
