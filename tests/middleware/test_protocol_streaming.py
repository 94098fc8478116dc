"""LangChain's protocol streaming (v3) asks a model's class whether it streams; conducting it changes no answer."""

from __future__ import annotations

import pytest
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph

from budgeted_agents import budgeted_model


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_a_model_that_does_not_stream_is_not_made_to() -> None:
    model = budgeted_model(FakeMessagesListChatModel(responses=[AIMessage("Hello.")]))
    graph = StateGraph(MessagesState).add_node("ask", lambda state: {"messages": [model.invoke("Hi.")]})
    app = graph.add_edge(START, "ask").compile()
    state = app.stream_events({"messages": []}, version="v3").output
    assert state is not None
    assert state["messages"][-1].text == "Hello."
