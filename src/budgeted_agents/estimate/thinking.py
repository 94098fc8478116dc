"""How much models think before they answer, learned from what their calls used.

Thinking comes first and counts as output, so an answer that is cut off within it says nothing and is paid for all the
same. Whoever shortens an answer has to leave room for it.
"""

from __future__ import annotations

_MEMORY = 8
"""Calls over which the mean goes, about."""

_MOST = 4_096
"""Models and nodes remembered at a time."""


class Thinking:
    """The usual number of tokens that each model thinks for, by the node that asks: the same model thinks long about a
    plan, and shortly about where to go next. O(1); safe from any thread, where of two calls that end at the same moment
    one may teach nothing."""

    def __init__(self) -> None:
        self._usual: dict[tuple[str, str], int] = {}

    def usual(self, model: str, node: str) -> int:
        """Tokens that the model is likely to think for at this node; 0 if it has not been seen to think there."""
        return self._usual.get((model, node), 0)

    def most(self, model: str) -> int:
        """The most that is usual of the model at any node: for a question that was not asked before. O(nodes)."""
        return max((usual for (name, _), usual in list(self._usual.items()) if name == model), default=0)

    def learn(self, model: str, node: str, tokens: int, *, is_cut: bool = False) -> None:
        """Take in that the model thought for so many tokens; where it was cut off, it would have for more."""
        key = (model, node)
        usual = self._usual.get(key, tokens)
        if not is_cut or tokens > usual:
            usual += -((usual - tokens) // _MEMORY)
        if len(self._usual) >= _MOST:
            self._usual.clear()
        self._usual[key] = usual
