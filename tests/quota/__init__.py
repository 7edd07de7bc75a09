"""Tests of the quota that several processes share."""
