"""The Event Streams API, for both connectors: nothing of Singer belongs here."""

# This code is part of two packages; each names itself to the service and in the log.
CONNECTOR = __name__.partition(".")[0].replace("_", "-")
