"""The topics' positions in the state, which covers all messages up to them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from ..event_streams.errors import EventStreamsError
from ..event_streams.json import members
from ..message_key import RowVersion
from .records import Position

# SDK taps emit everything in `bookmarks`, under any name, but nothing outside of it.
BOOKMARKS = "bookmarks"
BOOKMARK = "target-workato-streams"
# In a bookmark of the SDK, its progress that is lost if the run ends before the stream.
PROGRESS_MARKERS = "progress_markers"
# Members of such a bookmark that only the end of the stream removes. If the bookmark of a stream
# would be empty, because all of it is read in each run, the target adds the first one: otherwise,
# the SDK would not write a STATE at the end of a long stream, because it has not changed.
STARTING = "starting_replication_value"
TRANSIENT = frozenset({STARTING, "replication_key_signpost", PROGRESS_MARKERS})
PARTITIONS, CONTEXT = "partitions", "context"


class StoredPosition(Position, frozen=True):
    """A position in the state."""

    uncovered: tuple[str, ...] = ()  # keys of messages before it that the state does not cover


class ResumePoint(NamedTuple):
    """Where a tap begins that is started with a state."""

    progress: bytes  # what the bookmarks say; equal if the tap emits the same records again
    # The streams that the tap reads from their beginning again until it has finished them: their
    # bookmarks have members that only the end of the stream removes.
    unfinished: frozenset[str] = frozenset()
    is_resumable: bool = True  # whether no bookmark has `progress_markers`


# Of a tap that is started without a state.
BEGINNING = ResumePoint(b"{}")


class ReturnedState(NamedTuple):
    """What the tap's first STATE message says."""

    positions: Mapping[int, Position]  # by topic id
    has_bookmarks: bool  # whether it has bookmarks of the tap, which may use other names for them
    uncovered: Sequence[tuple[int, RowVersion]] = ()  # before the positions


_decode = msgspec.json.Decoder(dict[int, StoredPosition]).decode
# Numbers with a fraction or exponent keep their digits.
_decode_any = msgspec.json.Decoder(float_hook=msgspec.Raw).decode
_encode = msgspec.json.Encoder(order="deterministic").encode


def read_state(state: bytes) -> ReturnedState:
    """Read the positions from the value of a STATE message, a JSON object.

    Raises `EventStreamsError` if the positions or the bookmarks are malformed.
    """
    fields = members(state)
    bookmarks = _bookmarks(fields)
    try:
        stored = _decode(bookmarks.pop(BOOKMARK, b"{}"))
    except msgspec.DecodeError:
        raise EventStreamsError(
            "the state's bookmark of target-workato-streams is malformed; remove it from the "
            "state, or restore an earlier state"
        ) from None
    positions = {key: Position(each.message_id, each.message_time) for key, each in stored.items()}
    uncovered = [
        (key, version)
        for key, each in stored.items()
        for text in each.uncovered
        if (version := RowVersion.from_key(b'"%b"' % text.encode()))
    ]
    has_bookmarks = bool(bookmarks if BOOKMARKS in fields else fields)
    return ReturnedState(positions, has_bookmarks, uncovered)


def resume_point(state: bytes) -> ResumePoint:
    """Read from the value of a STATE message where the tap resumes.

    Raises `EventStreamsError` if the state's bookmarks are not an object.
    """
    fields = members(state)
    bookmarks = _bookmarks(fields)
    bookmarks.pop(BOOKMARK, None)
    progress, unfinished, is_resumable = {}, set(), True
    for stream, text in bookmarks.items():
        bookmark = _parsed(text)
        if not isinstance(bookmark, dict):
            progress[stream] = bookmark
            continue
        own, has_markers = _progress(bookmark)
        if own:
            progress[stream] = own
        if has_markers or (not own and TRANSIENT & bookmark.keys()):
            unfinished.add(stream)
        is_resumable = is_resumable and not has_markers
    fields.pop(BOOKMARKS, None)
    others = {name: text.decode() for name, text in fields.items()}
    text = _encode([progress, others]) if progress or others else BEGINNING.progress
    return ResumePoint(text, frozenset(unfinished), is_resumable)


def _parsed(text: bytes) -> Any:  # noqa: ANN401 - any JSON
    try:
        return _decode_any(text)
    except (msgspec.DecodeError, RecursionError):
        return text.decode(errors="surrogatepass")


def _progress(bookmark: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return what a bookmark says about the place to resume, and whether it has markers."""
    own = {name: value for name, value in bookmark.items() if name not in TRANSIENT}
    has_markers = PROGRESS_MARKERS in bookmark
    partitions = own.get(PARTITIONS)
    if isinstance(partitions, list):
        kept = []
        for each in partitions:
            part, has_some = _progress(each) if isinstance(each, dict) else (each, False)
            has_markers = has_markers or has_some
            if not isinstance(part, dict) or part.keys() - {CONTEXT}:
                kept.append(part)
        own.pop(PARTITIONS)
        if kept:
            own[PARTITIONS] = kept
    return own, has_markers


def _marked(text: bytes) -> bytes:
    """Mark a bookmark that says nothing about the place to resume."""
    bookmark = _parsed(text)
    if not isinstance(bookmark, dict) or _progress(bookmark)[0] or STARTING in bookmark:
        return text
    return _object({**members(text), STARTING: b"null"})


def with_positions(
    state: bytes,
    positions: Mapping[int, Position],
    uncovered: Mapping[tuple[int, str], Sequence[str]] | None = None,
) -> bytes:
    """Add positions to the value of a STATE message, and mark bookmarks without progress.

    `uncovered` is that of `PositionedState`. Raises `EventStreamsError` if the state's bookmarks
    are not an object.
    """
    if not positions:
        return state
    fields = members(state)
    bookmarks = {name: _marked(text) for name, text in _bookmarks(fields).items()}
    keys: dict[int, list[str]] = {}
    for (topic_id, row), contents in (uncovered or {}).items():
        keys.setdefault(topic_id, []).extend(RowVersion(row, each).key for each in contents)
    stored = {
        topic_id: StoredPosition(each.message_id, each.message_time, tuple(keys[topic_id]))
        if topic_id in keys
        else each
        for topic_id, each in sorted(positions.items())
    }
    bookmarks[BOOKMARK] = msgspec.json.encode(stored)
    fields[BOOKMARKS] = _object(bookmarks)
    return _object(fields)


def without_positions(state: bytes) -> bytes:
    """Remove the positions from the value of a STATE message; everything else is unchanged.

    A run without `exactly_once` does not update the positions, so a later run would treat its
    messages as not covered, and equal records as duplicates.
    """
    if BOOKMARK.encode() not in state:
        return state
    fields = members(state)
    text = fields.get(BOOKMARKS, b"")
    bookmarks = members(text) if text.startswith(b"{") else {}
    if bookmarks.pop(BOOKMARK, None) is None:
        return state
    fields[BOOKMARKS] = _object(bookmarks)
    return _object(fields)


def _bookmarks(fields: Mapping[str, bytes]) -> dict[str, bytes]:
    text = fields.get(BOOKMARKS, b"null")
    if text == b"null":
        return {}
    if not text.startswith(b"{"):
        raise EventStreamsError(
            "the state's bookmarks are not an object, so they cannot contain the positions of "
            "exactly_once; use a tap that follows the Singer specification"
        )
    return members(text)


def _object(fields: Mapping[str, bytes]) -> bytes:
    return b"{%b}" % b",".join(
        b"%b:%b" % (json.dumps(name).encode(), text) for name, text in fields.items()
    )
