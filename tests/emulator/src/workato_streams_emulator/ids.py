"""Message ids: opaque strings whose length and sort order do not reflect the topic order."""

from __future__ import annotations

ALPHABET = "mUk5Z1EqatyliD92vOwWsFCRV7QMrbNH6YohKXSJTp3ABfcnG4LxgI0edPzj8u"
MODULUS = 2**32
# Odd, so that the multiplication is a bijection; near the golden ratio, so that consecutive
# positions give very different ids.
MULTIPLIER = 2_654_435_761
INVERSE = pow(MULTIPLIER, -1, MODULUS)
DIGITS = {character: value for value, character in enumerate(ALPHABET)}


def message_id(position: int) -> str:
    """Return the id, such as `A1BRi`, of the message at a position in the workspace, from 1."""
    rest = position * MULTIPLIER % MODULUS
    characters = []
    while rest:
        rest, digit = divmod(rest, len(ALPHABET))
        characters.append(ALPHABET[digit])
    return "A" + "".join(characters)


def position_of(text: str) -> int | None:
    """Return the position that belongs to an id, or None if `text` is not an id."""
    value = 0
    for character in reversed(text[1:]):
        digit = DIGITS.get(character)
        if digit is None or value >= MODULUS:
            return None
        value = value * len(ALPHABET) + digit
    position = value * INVERSE % MODULUS
    return position if message_id(position) == text else None
