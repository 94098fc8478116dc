"""How much of a streamed answer has come, counted only as closely as has to be known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import GenerationChunk

from budgeted_agents.estimate import tokenizer_for

_TEXTS = ("text", "thinking", "reasoning", "partial_json", "input", "args")
"""Fields of content blocks that hold what a model wrote."""


@dataclass(slots=True)
class Received:
    """Output of one stream so far. A token is at least a byte, so bytes are a bound until they reach the limit.

    Attributes:
        tokens: counted so far; what came since then is ``waiting``.
        any: whether anything has come.
    """

    tokens: int = 0
    any: bool = False
    waiting: list[str] = field(default_factory=list)
    waiting_bytes: int = 0

    def add(self, token: object, chunk: object) -> None:
        for text in _texts(token, chunk):
            self.any = True
            self.waiting.append(text)
            self.waiting_bytes += len(text.encode("utf-8", "replace"))

    def exceeds(self, limit: int, model: str) -> bool:
        """Whether more than ``limit`` tokens have come; counts them only if that is possible."""
        if self.tokens + self.waiting_bytes <= limit:
            return False
        return self.count(model) > limit

    def count(self, model: str) -> int:
        """Tokens that have come, by the model's tokenizer; hidden reasoning is not among them."""
        text = "".join(self.waiting)
        if text:
            self.tokens += tokenizer_for(model).count(text)
            self.waiting, self.waiting_bytes = [], 0
        return self.tokens


def _texts(token: object, chunk: object) -> list[str]:
    message = getattr(chunk, "message", None)
    if not isinstance(message, AIMessageChunk):
        return [chunk.text] if isinstance(chunk, GenerationChunk) else [token] if isinstance(token, str) else []
    content = message.content
    texts = [content] if isinstance(content, str) else [text for block in content for text in _of_block(block)]
    texts += [call["args"] or "" for call in message.tool_call_chunks] if isinstance(content, str) else []
    return [text for text in texts if text]


def _of_block(block: str | Mapping[str, Any]) -> list[str]:
    if isinstance(block, str):
        return [block]
    return [text for name in _TEXTS if isinstance(text := block.get(name), str)]
