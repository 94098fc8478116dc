"""A research agent over a folder of documents: plan, search and read, answer with citations.

    plan -> research <-> tools
               |
             answer

It is an ordinary LangGraph. ``graph_class`` lets another class stand in for ``StateGraph``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from graphs.tools import research_tools

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

MAX_QUERIES = 4

PLAN_PROMPT = (
    "You plan research in a folder of documents. Write up to four short search queries, of a few key words each, that "
    "would find what answers the question. One query a line, nothing else."
)
RESEARCH_PROMPT = (
    "You research a question in a folder of documents with your tools. Search for the planned queries, read the files "
    "that look best, and calculate where figures have to be combined. When you know enough, say so without calling a "
    "tool.\n\nPlanned queries:\n{plan}"
)
ANSWER_PROMPT = (
    "You answer a question from research notes, and from nothing else. Be brief. After each statement name the file it "
    "comes from in square brackets. If the notes do not answer the question, say so."
)

_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])?\s*")


class ResearchState(MessagesState, total=False):
    """What the graph works on. Give ``question``, or a user message.

    Attributes:
        question: what to find out.
        plan: the search queries planned.
        sources: the files that the tools returned, in order.
        answer: the final answer, with file names in square brackets.
    """

    question: str
    plan: list[str]
    sources: list[str]
    answer: str


def build_research_graph(
    model: BaseChatModel,
    docs: Path,
    *,
    graph_class: Callable[..., StateGraph[Any, Any, Any, Any]] = StateGraph,
    max_rounds: int = 6,
) -> StateGraph[Any, Any, Any, Any]:
    """The agent's builder, not yet compiled.

    Args:
        model: any chat model that can call tools.
        docs: the folder of documents (``.md``, ``.rst``, ``.txt``).
        graph_class: called with the state's class; makes the builder.
        max_rounds: how often tools may be called for one question; then it is answered from what there is.

    Raises:
        DocumentError: if ``docs`` is not a folder.
    """
    tools = research_tools(docs)

    def next_step(state: ResearchState) -> str:
        return "research" if _rounds(state) < max_rounds else "answer"

    graph = graph_class(ResearchState)
    graph.add_node("plan", _model_step(_plan_messages, model, _planned))
    graph.add_node("research", _model_step(_research_messages, model.bind_tools(tools), _researched))
    graph.add_node("tools", ToolNode(tools))
    graph.add_node("answer", _model_step(_answer_messages, model, _answered))
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "research")
    graph.add_conditional_edges("research", _wants_tools, {True: "tools", False: "answer"})
    graph.add_conditional_edges("tools", next_step, ["research", "answer"])
    graph.add_edge("answer", END)
    return graph


def _model_step(
    prompt: Callable[[Any], list[BaseMessage]],
    model: Runnable[Any, Any],
    update: Callable[[dict[str, Any]], dict[str, Any]],
) -> Runnable[Any, dict[str, Any]]:
    """State to messages, to the model's reply, to what changes in the state; sync, async and streamed alike."""
    return RunnablePassthrough.assign(reply=RunnableLambda(prompt) | model) | RunnableLambda(update)


def _plan_messages(state: ResearchState) -> list[BaseMessage]:
    return [SystemMessage(PLAN_PROMPT), HumanMessage(_question(state))]


def _planned(state: dict[str, Any]) -> dict[str, Any]:
    """The plan, and the question as a message unless it came as one."""
    question = _question(state)
    lines = (_BULLET.sub("", line).strip() for line in state["reply"].text.splitlines())
    plan = list(dict.fromkeys(line for line in lines if line))[:MAX_QUERIES] or [question]
    is_asked = bool(state.get("messages")) and _is_user(state["messages"][-1])
    return {"question": question, "plan": plan, "messages": [] if is_asked else [HumanMessage(question)]}


def _research_messages(state: ResearchState) -> list[BaseMessage]:
    plan = "\n".join(f"- {query}" for query in state.get("plan", ()))
    return [SystemMessage(RESEARCH_PROMPT.format(plan=plan)), *state["messages"]]


def _researched(state: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [state["reply"]]}


def _answer_messages(state: ResearchState) -> list[BaseMessage]:
    """The notes go in as text: not every provider takes tool results in a request that offers no tools."""
    notes = "\n\n".join(message.text for message in _this_turn(state) if not _is_user(message) and message.text)
    request = f"Question: {_question(state)}\n\nResearch notes:\n\n{notes or 'Nothing was found.'}"
    return [SystemMessage(ANSWER_PROMPT), HumanMessage(request)]


def _answered(state: dict[str, Any]) -> dict[str, Any]:
    """The answer; a model that forgot to cite is made to."""
    sources = _sources(state)
    answer = state["reply"].text.strip() or "The documents gave no answer."
    if sources and not any(source in answer for source in sources):
        answer += f"\n\nSources: {', '.join(f'[{source}]' for source in sources)}"
    return {"answer": answer, "sources": sources, "messages": [AIMessage(answer)]}


def _wants_tools(state: ResearchState) -> bool:
    return bool(getattr(state["messages"][-1], "tool_calls", ()))


def _rounds(state: ResearchState) -> int:
    return sum(bool(getattr(message, "tool_calls", ())) for message in _this_turn(state))


def _sources(state: dict[str, Any]) -> list[str]:
    results = (message for message in _this_turn(state) if isinstance(message, ToolMessage))
    return list(dict.fromkeys(file for result in results for file in result.artifact or ()))


def _question(state: ResearchState | dict[str, Any]) -> str:
    """A new user message is a new question; otherwise the question given."""
    messages = state.get("messages") or []
    if messages and _is_user(messages[-1]):
        return str(messages[-1].text)
    return str(state.get("question") or next((m.text for m in reversed(messages) if _is_user(m)), ""))


def _this_turn(state: ResearchState | dict[str, Any]) -> list[BaseMessage]:
    """The messages since the question was asked."""
    messages = list(state.get("messages") or ())
    asked = max((index for index, message in enumerate(messages) if _is_user(message)), default=0)
    return messages[asked:]


def _is_user(message: BaseMessage) -> bool:
    return isinstance(message, HumanMessage)
