"""Tests of `orchestrate/`: the script that runs a pipeline, and the examples."""
