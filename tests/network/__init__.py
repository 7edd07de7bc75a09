"""What both connectors promise about the network and their logs, through their executables."""
