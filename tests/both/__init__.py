"""Tests of promises that both connectors make, through their executables."""
