"""Run the tap as `python -m tap_workato_streams`."""

from __future__ import annotations

from tap_workato_streams.tap import TapWorkatoStreams

TapWorkatoStreams.cli()
