"""What answers of models say, as plain texts: for whoever goes on without knowing what they were answers to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult


def texts(answers: Iterable[LLMResult]) -> list[str]:
    """What the answers say, and what they would have called: an answer in a structure is such a call."""
    return [text for answer in answers for text in _texts(answer)]


def _texts(answer: LLMResult) -> Iterator[str]:
    for generation in (generation for prompt in answer.generations for generation in prompt):
        message: Any = generation.message if isinstance(generation, ChatGeneration) else None
        calls = message.tool_calls if isinstance(message, AIMessage) else []
        text = message.text if message is not None else generation.text
        parts = [text.strip(), *(f"{call['name']}({json.dumps(call['args'], default=str)})" for call in calls)]
        if found := "\n".join(filter(None, parts)):
            yield found
