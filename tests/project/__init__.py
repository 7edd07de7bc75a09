"""Tests of the repository as a whole: the Meltano project, the packages and the documentation."""
