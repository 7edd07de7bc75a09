"""The Event Streams API, for both connectors: nothing of Singer belongs here."""
