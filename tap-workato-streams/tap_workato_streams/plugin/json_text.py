"""What msgspec does not handle in JSON text: invalid UTF-8, and lone surrogates."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import msgspec

_HIGH, _LOW = rb"[89abAB][0-9a-fA-F]{2}", rb"[c-fC-F][0-9a-fA-F]{2}"
_LONE_SURROGATE = re.compile(
    rb"\\u[dD](?:%b(?!\\u[dD]%b)|%b(?<!\\u[dD]%b\\u[dD]%b))" % (_HIGH, _LOW, _LOW, _HIGH, _LOW)
)
# The characters of the private use area: their lower-case escapes, which `HiddenSurrogates` writes,
# and all the ways in which a text may contain them.
_STAND_IN = re.compile(rb"\\u(?:e[0-9a-f]{3}|f[0-8][0-9a-f]{2})")
_PRIVATE_USE = range(0xE000, 0xF900)
_PRIVATE_USE_ESCAPE = re.compile(rb"\\u([eE][0-9a-fA-F]{3}|[fF][0-8][0-9a-fA-F]{2})")
_PRIVATE_USE_UTF8 = re.compile(rb"\xee[\x80-\xbf]{2}|\xef[\x80-\xa3][\x80-\xbf]")


def check_utf8(text: bytes) -> None:
    """Check the encoding, because msgspec does not check text that it does not decode.

    Raises:
        ValueError: The text is not UTF-8.
    """
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError as exc:
            raise ValueError(f"not UTF-8 at byte {exc.start + 1}") from None


class HiddenSurrogates:
    """A text whose lone surrogates are replaced by characters that it does not contain."""

    def __init__(self, text: bytes) -> None:
        check_utf8(text)
        if b"\0" in text:
            raise ValueError(f"not valid JSON: NUL at byte {text.index(0) + 1}")
        used = {int(match, 16) for match in _PRIVATE_USE_ESCAPE.findall(text)}
        used.update(ord(match.decode()) for match in _PRIVATE_USE_UTF8.findall(text))
        self._free = (code for code in _PRIVATE_USE if code not in used)
        self._stand_ins: dict[bytes, bytes] = {}
        # An escaped backslash does not begin another escape.
        unescaped = text.replace(rb"\\", b"\0\0")
        self.text = _LONE_SURROGATE.sub(self._hide, unescaped).replace(b"\0\0", rb"\\")
        self._originals = {stand_in: lone for lone, stand_in in self._stand_ins.items()}
        self._characters = {
            ord(json.loads(b'"%b"' % stand_in)): json.loads(b'"%b"' % lone)
            for stand_in, lone in self._originals.items()
        }

    def restored(self, part: msgspec.Raw) -> bytes:
        """Return a part of the original text."""
        return _STAND_IN.sub(lambda match: self._originals.get(match[0], match[0]), bytes(part))

    def restored_name(self, name: str) -> str:
        """Return an original name from a decoded one."""
        return name.translate(self._characters)

    def _hide(self, match: re.Match[bytes]) -> bytes:
        lone = match[0]
        if lone not in self._stand_ins:
            # If no unused character is left, the surrogate stays, and the text is scanned.
            code = next(self._free, None)
            self._stand_ins[lone] = lone if code is None else rb"\u%04x" % code
        return self._stand_ins[lone]
