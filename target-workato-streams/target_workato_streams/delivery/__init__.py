"""The guarantee of a run: which records are published, and which states are emitted.

Both guarantees have the same methods, which `AtLeastOnce` describes. Those of `TopicGuarantee` are
for the workers of a topic, all others for the main thread.
"""

from typing import TypeAlias

from .at_least_once import AtLeastOnce, AtLeastOnceTopic
from .exactly_once.run import ExactlyOnce, ExactlyOnceTopic
from .records import R

Guarantee: TypeAlias = AtLeastOnce[R] | ExactlyOnce[R]
TopicGuarantee: TypeAlias = AtLeastOnceTopic | ExactlyOnceTopic[R]
