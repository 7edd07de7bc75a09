"""Tests of guarantees that both connectors give, through their executables."""
