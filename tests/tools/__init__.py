"""Programs that are not tests: demo, benchmarks, matrix, live checks and generators."""
