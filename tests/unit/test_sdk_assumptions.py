"""What the tap assumes about the SDK; these tests fail first if the SDK changes."""

from __future__ import annotations

import inspect
import signal
import textwrap

from singer_sdk import Tap
from singer_sdk.plugin_base import PluginBase
from singer_sdk.streams import Stream
from tap_workato_streams.plugin.config import CheckedPlugin
from tap_workato_streams.streams import SdkStream, TopicStream
from tap_workato_streams.table_stream import TableStream
from tap_workato_streams.tap import TapWorkatoStreams


def parameters(function: object) -> list[str]:
    """Return the names of a function's parameters."""
    assert callable(function)
    return list(inspect.signature(function).parameters)


def test_a_run_of_the_sdk_goes_through_sync_all():
    """`Tap.invoke` calls `sync_all`, which the tap overrides to read concurrently."""
    assert "tap.sync_all()" in textwrap.dedent(inspect.getsource(Tap.invoke))
    assert parameters(Tap.sync_all) == parameters(TapWorkatoStreams.sync_all) == ["self"]


def test_settings_are_checked_in_one_place_before_discovery():
    """The SDK's constructor calls `_validate_config` once `_config` is set."""
    assert parameters(PluginBase._validate_config) == ["self", "raise_errors"]  # noqa: SLF001
    source = inspect.getsource(PluginBase.__init__)
    assert "self._validate_config(raise_errors=" in source
    assert source.index("self._config") < source.index("self._validate_config(")
    assert "append_builtin_config" in dir(Tap)


def test_signals_are_handled_by_the_method_that_the_tap_overrides():
    """SIGINT and SIGTERM are bound to `_handle_termination`."""
    assert parameters(PluginBase._handle_termination) == ["self", "signum", "frame"]  # noqa: SLF001
    source = inspect.getsource(PluginBase._setup_signal_handlers)  # noqa: SLF001
    for name in (signal.SIGINT.name, signal.SIGTERM.name):
        assert f"signal.signal(signal.{name}, self._handle_termination)" in source


def test_overridden_methods_exist_in_the_sdk():
    """A renamed method would silently not be overridden any more."""
    # By what the SDK's classes define: our own may override each other.
    overridden = {
        (theirs, name)
        for ours, theirs in (
            (CheckedPlugin, PluginBase),
            (TapWorkatoStreams, Tap),
            (SdkStream, Stream),
            (TopicStream, SdkStream),
            (TableStream, TopicStream),
        )
        for name, member in vars(ours).items()
        if getattr(getattr(member, "fget", member), "__override__", False)
    }
    assert "_env_var_config" in vars(PluginBase)
    assert {(PluginBase, "_validate_config"), (Tap, "sync_all")} <= overridden
    assert {(Tap, "discover_streams"), (Stream, "stream_maps")} <= overridden
    assert {"is_sorted", "check_sorted"} <= vars(Stream).keys() & vars(SdkStream).keys()
    for theirs, name in overridden:
        assert any(name in vars(base) for base in theirs.__mro__), f"{theirs.__name__}.{name}"


def test_methods_that_the_stream_uses_exist_in_the_sdk():
    """They write lines, count records and measure time."""
    assert parameters(Stream._write_schema_message) == ["self"]  # noqa: SLF001
    assert parameters(Stream._write_record_message) == ["self", "record"]  # noqa: SLF001
    assert {"get_record_counter", "get_sync_timer", "stream_state", "mask"} <= set(dir(Stream))
