"""Tests of a quota that is shared by several processes."""
