"""How much models think before they answer, learnt from what their calls used.

Thinking comes first and counts as output, so an answer that is cut off within it says nothing and is paid for all the
same. Whoever shortens an answer has to leave room for it.
"""

from __future__ import annotations

_MEMORY = 8
"""Calls over which the mean goes, about."""


class Thinking:
    """The usual number of tokens that each model thinks for. O(1); safe from any thread, where of two calls that end at
    the same moment one may teach nothing."""

    def __init__(self) -> None:
        self._usual: dict[str, int] = {}

    def usual(self, model: str) -> int:
        """Tokens that the model is likely to think for; 0 if it has not been seen to think."""
        return self._usual.get(model, 0)

    def learn(self, model: str, tokens: int, *, is_cut: bool = False) -> None:
        """Take in that the model thought for so many tokens; where it was cut off, it would have for more."""
        usual = self._usual.get(model, tokens)
        if not is_cut or tokens > usual:
            usual += -((usual - tokens) // _MEMORY)
        self._usual[model] = usual
