"""How a connector behaves as a program, for both connectors: nothing here sends a request."""
