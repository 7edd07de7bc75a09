"""What the connectors assume about the SDK without noticing that it has changed."""

from singer_sdk import Tap, Target
from singer_sdk.plugin_base import PluginBase
from singer_sdk.streams import Stream
from tap_workato_streams.plugin.config import CheckedPlugin
from tap_workato_streams.streams import TopicStream
from tap_workato_streams.table_stream import TableStream
from tap_workato_streams.tap import TapWorkatoStreams
from target_workato_streams.target import TargetWorkatoStreams


def function_of(member: object) -> object:
    """The function of a property or a class method."""
    return getattr(member, "fget", getattr(member, "__func__", member))


def test_overridden_methods_exist_in_the_sdk():
    """A renamed method would silently not be overridden any more."""
    # By what the SDK's classes define: our own may override each other.
    overridden = {
        (theirs, name)
        for ours, theirs in (
            (CheckedPlugin, PluginBase),
            (TapWorkatoStreams, Tap),
            (TargetWorkatoStreams, Target),
            (TopicStream, Stream),
            (TableStream, TopicStream),
        )
        for name, member in vars(ours).items()
        if getattr(function_of(member), "__override__", False)
    }
    assert "_env_var_config" in vars(PluginBase)
    assert {(PluginBase, "_validate_config"), (Tap, "sync_all")} <= overridden
    assert {(Target, "append_builtin_config"), (Target, "process_endofpipe")} <= overridden
    assert {(Tap, "discover_streams"), (Stream, "stream_maps")} <= overridden
    for theirs, name in overridden:
        assert any(name in vars(base) for base in theirs.__mro__), f"{theirs.__name__}.{name}"
