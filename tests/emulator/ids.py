"""Message ids: opaque text whose length and byte order say nothing about which came first."""

from __future__ import annotations

ALPHABET = "mUk5Z1EqatyliD92vOwWsFCRV7QMrbNH6YohKXSJTp3ABfcnG4LxgI0edPzj8u"
MODULUS = 2**32
# Odd, so that multiplying is one to one; near the golden ratio, so that neighbours land far apart.
MULTIPLIER = 2_654_435_761
INVERSE = pow(MULTIPLIER, -1, MODULUS)
DIGITS = {character: value for value, character in enumerate(ALPHABET)}


def message_id(position: int) -> str:
    """The id of the message at a position of the workspace (1, 2, 3 ...), such as `A1BRi`."""
    rest = position * MULTIPLIER % MODULUS
    characters = []
    while rest:
        rest, digit = divmod(rest, len(ALPHABET))
        characters.append(ALPHABET[digit])
    return "A" + "".join(characters)


def position_of(text: str) -> int | None:
    """The position that `text` is the id of, or None where it is no id at all."""
    value = 0
    for character in reversed(text[1:]):
        digit = DIGITS.get(character)
        if digit is None or value >= MODULUS:
            return None
        value = value * len(ALPHABET) + digit
    position = value * INVERSE % MODULUS
    return position if message_id(position) == text else None
