"""The encoding of JSON text."""

from __future__ import annotations


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
