"""Run the target as `python -m target_workato_streams`."""

from __future__ import annotations

from target_workato_streams.target import TargetWorkatoStreams

TargetWorkatoStreams.cli()
