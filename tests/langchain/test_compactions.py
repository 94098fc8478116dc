"""What Claude spends on compacting a context is billed beside the totals that LangChain reports."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage

from budgeted_agents.governor import Quote
from budgeted_agents.integrations.langchain.calls.answers import of_messages
from budgeted_agents.usage import Usage

QUOTE = Quote(0, "claude-opus-4-6", None, 10, 10, 0, 0, 500)
ANSWER = {"type": "message", "input_tokens": 23_000, "output_tokens": 1_000}


def answer(*iterations: Any) -> AIMessage:
    return AIMessage(
        [{"type": "compaction", "content": "So far ..."}, {"type": "text", "text": "Done."}],
        usage_metadata={"input_tokens": 23_000, "output_tokens": 1_000, "total_tokens": 24_000},
        response_metadata={"model_name": "claude-opus-4-6", "usage": {"iterations": list(iterations)}},
    )


def test_a_compaction_is_charged_with_the_call_it_was_made_for() -> None:
    compaction = {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500}
    assert of_messages([answer(compaction, ANSWER)], QUOTE).usage == Usage(input=203_000, output=4_500)


@pytest.mark.parametrize("odd", [{"type": "compaction", "input_tokens": -1}, {"type": "compaction"}, 3, None])
def test_what_makes_no_sense_adds_nothing(odd: Any) -> None:
    assert of_messages([answer(odd, ANSWER)], QUOTE).usage == Usage(input=23_000, output=1_000)
