"""Counting texts once, however often they come: system prompts, tool schemas, histories loaded from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

from budgeted_agents.estimate.tokens import Tokenizer

MOST_TEXTS = 16_384
"""Texts whose count is remembered, about 200 bytes each. The texts themselves are not kept, only their hashes."""


class TextCounter:
    """Counts texts with one tokenizer and remembers the counts. Safe from any thread."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._counts: dict[tuple[int, int], int] = {}
        self._lock = Lock()

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return self.count_all((text,))

    def count_all(self, texts: Iterable[str]) -> int:
        """Tokens of several texts, each by itself."""
        total = 0
        for text in texts:
            key = (hash(text), len(text))
            tokens = self._counts.get(key)
            if tokens is None:
                tokens = self._tokenizer.count(text)
                with self._lock:
                    if len(self._counts) >= MOST_TEXTS:
                        del self._counts[next(iter(self._counts))]
                    self._counts[key] = tokens
            total += tokens
        return total
