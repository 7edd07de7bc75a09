"""Tests of what is measured during a run."""
