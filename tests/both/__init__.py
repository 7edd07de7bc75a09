"""What both connectors promise, through their executables."""
