"""The wire fixture: does a $1.00 cap hold, and is it used, when a graph asks for more than that over real HTTP?

    python -m benchmarks.wire_fixture

gpt-4o, about 8,000 tokens in and up to 16,000 out ($0.18 a call), through LangGraph and langchain-openai. What was
really spent is counted by a local provider, in a process of its own, that bills each call when it arrives. Leaves with
1 if anything is spent above the cap, if less than 95 % is used although the caller keeps asking, if the ledger and the
bill differ, or if an answer that was paid for is missing from the final state.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState
from langgraph.prebuilt import ToolNode
from langgraph.types import RetryPolicy, Send
from openai import RateLimitError

from benchmarks.support.provider import SPAWN, Bill, ProviderProcess
from budgeted_agents import Budget, BudgetedGraph, budgeted_model, open_ledger
from budgeted_agents.ledgers import Ledger
from budgeted_agents.testing import Reply, Request, ToolCall, fill
from budgeted_agents.testing.replies import ReplyPolicy

CAP_NANOS = 1_000_000_000
LEAST_UTILIZATION = 0.95
INPUT_TOKENS, OUTPUT_TOKENS = 8_000, 16_000
ASKS = 20
PROCESSES, THREADS = 4, 8
PROMPT = [("human", "hello " * (INPUT_TOKENS - 10))]
SESSION = Budget(usd="1.00")
TENANT = Budget(name="tenant", per=("tenant",), usd="1.00")

Graph = Any
Shape = Callable[[Graph, Any], None]
"""Adds nodes and edges that ask the model given for more than the cap."""


class State(MessagesState):
    asked: int


FILLED = partial(fill, OUTPUT_TOKENS)

# -- what the provider answers ---------------------------------------------------------------------------------------


def random_lengths() -> ReplyPolicy:
    """Answers of any length up to the longest: what a call reserves is mostly given back."""

    def reply_to(request: Request) -> Reply:
        wanted = random.Random(request.number).randint(200, OUTPUT_TOKENS)
        return Reply(" tok" * min(wanted, request.max_output_tokens or wanted), output_tokens=wanted)

    return reply_to


def tool_calls_and_outages() -> ReplyPolicy:
    """Every answer is as long as it may be and calls a tool; two of five requests are refused, one after the other."""
    filled = FILLED()

    def reply_to(request: Request) -> Reply:
        if request.number % 5 in (2, 3):
            return Reply("Slow down.", status=429, headers={"retry-after": "0"})
        return replace(filled(request), tool_calls=_calls(request))

    return reply_to


def thoughtful_tool_calls() -> ReplyPolicy:
    """Every answer comes behind 2,000 tokens of thinking and calls a tool; of what is cut off in it nothing is left."""
    return lambda request: Reply("Let me see.", _calls(request), reasoning_tokens=2_000)


def _calls(request: Request) -> list[ToolCall]:
    return [ToolCall("look_up", {"item": request.number})] if request.tools else []


# -- ways of asking --------------------------------------------------------------------------------------------------


def sequential(graph: Graph, model: Any) -> None:
    def ask(state: State) -> dict[str, Any]:
        return {"messages": [model.invoke(PROMPT)], "asked": state["asked"] + 1}

    _repeat(graph, ask)


def streaming(graph: Graph, model: Any) -> None:
    def ask(state: State) -> dict[str, Any]:
        first, *rest = model.stream(PROMPT)
        return {"messages": [sum(rest, first)], "asked": state["asked"] + 1}

    _repeat(graph, ask)


def catching_everything(graph: Graph, model: Any) -> None:
    def ask(state: State) -> dict[str, Any]:
        answers = []
        for _ in range(ASKS):
            try:
                answers.append(model.invoke(PROMPT))
            except BaseException:  # noqa: BLE001 -- a caller that will not take no for an answer
                continue
        return {"messages": answers}

    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")


def fan_out(graph: Graph, model: Any) -> None:
    graph.add_node("ask", lambda state: {"messages": [model.invoke(PROMPT)]})
    graph.add_conditional_edges(START, lambda state: [Send("ask", state) for _ in range(ASKS)], ["ask"])


def async_fan_out(graph: Graph, model: Any) -> None:
    async def ask(state: State) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(PROMPT)]}

    graph.add_node("ask", ask)
    graph.add_conditional_edges(START, lambda state: [Send("ask", state) for _ in range(50)], ["ask"])


def tool_agent(graph: Graph, model: Any) -> None:
    """An agent that goes on after every answer, cut short or not."""

    @tool
    def look_up(item: int) -> str:
        """Look an item up."""
        return f"Item {item} is in stock."

    bound = model.bind_tools([look_up])
    retry = RetryPolicy(initial_interval=0.01, max_attempts=5, retry_on=RateLimitError)
    graph.add_node("agent", lambda s: {"messages": [bound.invoke([*PROMPT, *s["messages"]])]}, retry_policy=retry)
    graph.add_node("tools", ToolNode([look_up]))
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", lambda s: "tools" if s["messages"][-1].tool_calls else "agent")
    graph.add_edge("tools", "agent")


def _repeat(graph: Graph, ask: Callable[[State], dict[str, Any]]) -> None:
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    graph.add_conditional_edges("ask", lambda state: "ask" if state["asked"] < ASKS else END)


# -- trials ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What a trial came to, by the provider's bill, the ledger, and the final states."""

    bill: Bill
    ledger_nanos: int | None
    kept: Sequence[str]
    must_be_used: bool

    @property
    def overshoot(self) -> float:
        return max(0, self.bill.nanos - CAP_NANOS) / CAP_NANOS

    @property
    def utilization(self) -> float:
        return self.bill.nanos / CAP_NANOS

    @property
    def missing(self) -> int:
        """Answers paid for that are in no final state."""
        kept = set(self.kept)
        unnamed = len(kept - {f"chatcmpl-{request['number']}" for request in self.bill.requests})
        # langchain-openai does not keep the provider's id of a streamed answer: those can only be counted.
        return max(0, len(self.bill.paid - kept) - unnamed)

    @property
    def agrees(self) -> bool:
        return self.ledger_nanos is None or self.ledger_nanos == self.bill.nanos

    @property
    def failures(self) -> list[str]:
        checks = {
            "spent above the cap": self.overshoot > 0,
            "cap not used": self.must_be_used and self.utilization < LEAST_UTILIZATION,
            "paid answers lost": self.missing > 0,
            "ledger and bill differ": not self.agrees,
        }
        return [failure for failure, holds in checks.items() if holds]


@dataclass(frozen=True)
class Trial:
    """One graph in one process.

    Attributes:
        governed: whether the model is a ``budgeted_model``, or one that is only watched and cannot be clamped.
        budget: None for no budget at all.
    """

    shape: Shape
    policy: Callable[[], ReplyPolicy] = FILLED
    governed: bool = True
    budget: Budget | None = SESSION

    def run(self) -> Outcome:
        with ProviderProcess(self.policy) as provider, closing(open_ledger("memory://")) as ledger:
            model = chat_model(provider.base_url, governed=self.governed)
            messages = final_messages(self.shape, model, self.budget, ledger)
            spent = None if self.budget is None else charged(ledger)
            return Outcome(provider.bill(), spent, ids(messages), must_be_used=self.governed)


@dataclass(frozen=True)
class ManyProcesses:
    """Processes of several threads each, every thread with a graph run of its own, on one SQLite ledger."""

    budget: Budget
    one_session: bool

    def run(self) -> Outcome:
        with tempfile.TemporaryDirectory() as folder, ProviderProcess(partial(fill, OUTPUT_TOKENS)) as provider:
            url = f"sqlite:///{Path(folder) / 'spend.db'}"
            arguments = [(provider.base_url, url, self, number) for number in range(PROCESSES)]
            with SPAWN.Pool(PROCESSES) as pool:
                kept = [id for ids in pool.starmap(_work, arguments) for id in ids]
            with closing(open_ledger(url)) as ledger:
                return Outcome(provider.bill(), charged(ledger), kept, must_be_used=True)


def _work(base_url: str, url: str, trial: ManyProcesses, number: int) -> list[str]:
    """One process: all its threads ask at once, each in a session of its own unless the session is shared."""
    model = chat_model(base_url, governed=True)
    with closing(open_ledger(url)) as ledger, ThreadPoolExecutor(THREADS) as threads:
        sessions = ["shared" if trial.one_session else f"{number}-{thread}" for thread in range(THREADS)]
        asks = [threads.submit(final_messages, sequential, model, trial.budget, ledger, name) for name in sessions]
        return [id for ask in asks for id in ids(ask.result())]


def final_messages(
    shape: Shape, model: Any, budget: Budget | None, ledger: Ledger, session: str = "session"
) -> list[BaseMessage]:
    """The messages in the state a governed run ends with."""
    logging.getLogger("budgeted_agents").setLevel(logging.CRITICAL)  # refusals are what is measured here
    graph = BudgetedGraph(State, budget=budget, ledger=None if budget is None else ledger)
    shape(graph, model)
    app: Any = graph.compile()
    start = {"messages": [], "asked": 0}
    config = {"configurable": {"thread_id": session}, "metadata": {"tenant": "acme"}, "recursion_limit": 100}
    state = asyncio.run(app.ainvoke(start, config)) if shape is async_fan_out else app.invoke(start, config)
    return list(state["messages"])


def chat_model(base_url: str, *, governed: bool) -> Any:
    settings: dict[str, Any] = {"base_url": base_url, "api_key": "sk-local", "max_tokens": OUTPUT_TOKENS}
    model = ChatOpenAI(model="gpt-4o", max_retries=1, **settings)
    return budgeted_model(model) if governed else model


def ids(messages: Sequence[BaseMessage]) -> list[str]:
    """The provider's own ids of its answers among these messages."""
    # What a graph says by itself has no response metadata; it must not stand for an answer that was lost.
    answers = [message for message in messages if isinstance(message, AIMessage) and message.response_metadata]
    return [str(answer.response_metadata.get("id") or answer.id) for answer in answers]


def charged(ledger: Ledger) -> int:
    """Nano-USD that the ledger has charged, and still holds."""
    money = [balance for balance in ledger.balances(ledger.accounts()) if balance.account.unit == "usd"]
    return sum(balance.spent + balance.held for balance in money)


TRIALS: dict[str, Trial | ManyProcesses] = {
    "sequential": Trial(sequential),
    "streaming": Trial(streaming),
    "catches all, tries again": Trial(catching_everything),
    "Send x 20": Trial(fan_out),
    "async x 50": Trial(async_fan_out),
    "tools, retries, 429s": Trial(tool_agent, tool_calls_and_outages),
    "tools, behind thinking": Trial(tool_agent, thoughtful_tool_calls),
    "sequential, random lengths": Trial(sequential, random_lengths),
    "Send x 20, random lengths": Trial(fan_out, random_lengths),
    "async x 50, random lengths": Trial(async_fan_out, random_lengths),
    "4 x 8, one tenant, SQLite": ManyProcesses(TENANT, one_session=False),
    "4 x 8, one session, SQLite": ManyProcesses(SESSION, one_session=True),
    "plain model, sequential": Trial(sequential, governed=False),
    "plain model, Send x 20": Trial(fan_out, governed=False),
}


def main() -> None:
    print(f"{'':28}calls    bill $  overshoot  utilization  missing  ledger")
    report("no budget at all", Trial(sequential, budget=None, governed=False).run())
    failures = [f"{name}: {failure}" for name, trial in TRIALS.items() for failure in report(name, trial.run())]
    print("\n".join(failures) or "The cap held and was used, and nothing paid for was lost.")
    sys.exit(bool(failures))


def report(name: str, outcome: Outcome) -> list[str]:
    """Print an outcome; what is wrong with it."""
    agrees = "-" if outcome.ledger_nanos is None else "= bill" if outcome.agrees else "differs"
    print(
        f"{name:28}{len(outcome.bill.requests):5}{outcome.bill.nanos / 1e9:10.4f}{outcome.overshoot:+11.0%}"
        f"{outcome.utilization:13.1%}{outcome.missing:9}  {agrees}",
        flush=True,
    )
    return outcome.failures


if __name__ == "__main__":
    main()
