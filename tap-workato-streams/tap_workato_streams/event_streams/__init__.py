"""The Event Streams API, for both connectors; this package does not depend on Singer."""

import logging

# This code is part of two packages; each uses its own name in requests and log lines.
CONNECTOR = __name__.partition(".")[0].replace("_", "-")
logger = logging.getLogger(CONNECTOR)
