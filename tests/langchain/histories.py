"""Histories as a provider accepts them, and as it checks them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from budgeted_agents.testing.conversation import Message
from budgeted_agents.testing.conversation import ToolCall as WireCall


def wire(history: list[Any]) -> list[Message]:
    """LangChain's messages as the provider checks them."""
    roles = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}
    return [
        Message(
            roles[m.type],
            m.text,
            tuple(WireCall(c["name"], c["args"], c["id"]) for c in getattr(m, "tool_calls", ())),
            getattr(m, "tool_call_id", ""),
        )
        for m in history
    ]


NONE = st.just(0)


@st.composite
def histories(draw: st.DrawFn, words: st.SearchStrategy[int] = NONE) -> list[Any]:
    """Any history a provider accepts: user turns, answers, and rounds of tool calls with results in any order; results
    and the user's messages are longer by so many words."""

    def long(text: str) -> str:
        return text + " word" * draw(words)

    history: list[Any] = [SystemMessage("Be brief.")] if draw(st.booleans()) else []
    history.append(HumanMessage(long("first")))
    for turn in range(draw(st.integers(0, 8))):
        calls = draw(st.integers(0, 3))
        ids = [f"c{turn}_{n}" for n in range(calls)]
        history.append(AIMessage("hm", tool_calls=[{"name": "f", "args": {}, "id": id} for id in ids]))
        history += [ToolMessage(long(f"result {id}"), tool_call_id=id) for id in draw(st.permutations(ids))]
        if draw(st.booleans()):
            history.append(HumanMessage(long(f"turn {turn}")))
    return history
