"""What tests share: fixtures, running executables, and services that respond as a test says."""
