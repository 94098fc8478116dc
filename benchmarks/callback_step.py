"""What a callback that prices, enforces and records adds to a whole agent step, beside one that only counts tokens.

    python -m benchmarks.callback_step

The step is a LangGraph agent with a fake model and one tool (model, tool, model), after 40 and after 400 messages of
history. Rounds with ``CostCallback`` (a budget in dollars, a ledger in memory), with LangChain's own
``UsageMetadataCallbackHandler``, and with no handler at all take turns, so that a noisy machine disturbs all alike; the
figure is the ratio of the medians. Leaves with 1 if the callback costs more than LangChain's counter.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler, CallbackManagerForLLMRun, UsageMetadataCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from budgeted_agents import Budget, CostCallback

HISTORIES = (40, 400)
ROUNDS = 400
WARM_UP = 20
GOAL = 1.00


class FakeModel(BaseChatModel):
    """Calls a tool, then answers; it says what it used as a provider does."""

    model_name: str = "gpt-4o"
    max_tokens: int = 256

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {
            "ls_provider": "openai",
            "ls_model_name": self.model_name,
            "ls_model_type": "chat",
            "ls_max_tokens": 256,
        }

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        usage = {"input_tokens": 12 * len(messages), "output_tokens": 20, "total_tokens": 12 * len(messages) + 20}
        asked = isinstance(messages[-1], ToolMessage)
        calls = [] if asked else [{"name": "look_up", "args": {"word": "tree"}, "id": "call_1"}]
        message = AIMessage(
            "A tree.",
            tool_calls=calls,
            usage_metadata=usage,
            response_metadata={"model_name": self.model_name},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


@tool
def look_up(word: str) -> str:
    """Looks a word up."""
    return f"{word} is a word."


def build_agent() -> Any:
    """The usual loop of model and tools."""
    model = FakeModel()
    graph = StateGraph(MessagesState)
    graph.add_node("agent", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([look_up]))
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", tools_condition, {"tools": "tools", END: END})
    graph.add_edge("tools", "agent")
    return graph.compile()


def history(length: int) -> list[AnyMessage]:
    messages: list[AnyMessage] = []
    for number in range(length // 2):
        messages += [HumanMessage(f"Question {number}: what is a tree?"), AIMessage(f"Answer {number}: a tall plant.")]
    return [*messages[:-1], HumanMessage("What is a tree?")]


Handlers = dict[str, Callable[[], list[BaseCallbackHandler]]]


def contenders() -> Handlers:
    callback = CostCallback(budget=Budget(usd=1_000_000), session="benchmark")
    return {
        "no handler": list,
        "UsageMetadataCallbackHandler": lambda: [UsageMetadataCallbackHandler()],
        "CostCallback": lambda: [callback],
    }


def measure(length: int) -> dict[str, list[float]]:
    """Seconds of CPU of a step, by contender; the contenders take turns."""
    agent, start = build_agent(), {"messages": history(length)}
    times: dict[str, list[float]] = {}
    for number in range(WARM_UP + ROUNDS):
        for name, handlers in CONTENDERS.items():
            config = {"callbacks": handlers()}
            before = time.thread_time()
            agent.invoke(start, config)
            if number >= WARM_UP:
                times.setdefault(name, []).append(time.thread_time() - before)
    return times


CONTENDERS: Handlers = {}


def main() -> None:
    CONTENDERS.update(contenders())
    gc.disable()
    failed = False
    for length in HISTORIES:
        medians = {name: statistics.median(times) for name, times in measure(length).items()}
        ratio = medians["CostCallback"] / medians["UsageMetadataCallbackHandler"]
        print(f"{length} messages: " + ", ".join(f"{name} {median * 1e6:,.0f} us" for name, median in medians.items()))
        print(f"{'':14}CostCallback / UsageMetadataCallbackHandler = {ratio:.3f} (goal {GOAL:.2f})", flush=True)
        failed = failed or ratio > GOAL
    sys.exit(failed)


if __name__ == "__main__":
    main()
