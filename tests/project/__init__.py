"""The pair and its project: Meltano, packages, documents that follow the code."""
