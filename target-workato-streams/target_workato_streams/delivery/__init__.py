"""What of a topic's records a run must publish, and when a state is true.

Both kinds of delivery have the same methods, which `AtLeastOnce` describes.
"""

from typing import TypeAlias

from .at_least_once import AtLeastOnce
from .published_rows import PublishedRows
from .records import R

Delivery: TypeAlias = AtLeastOnce[R] | PublishedRows[R]
