"""Singer tap for Workato Event Streams."""
