"""Applications that each have one fault."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from typing import Any

import httpx
import openai
from langchain_anthropic import ChatAnthropic
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, MessagesState, StateGraph

from budgeted_agents import Budget, BudgetedGraph, CostCallback, budgeted_embeddings, budgeted_model
from tests.doctor.apps.good import KEY, LEDGER, STRICT

plain = ChatOpenAI(model="gpt-4o", api_key=KEY, max_retries=0)
model = budgeted_model(plain)
plain_embeddings = OpenAIEmbeddings(api_key=KEY, max_retries=0, check_embedding_ctx_length=False)
embeddings = budgeted_embeddings(plain_embeddings)
client = openai.OpenAI(api_key="sk-not-a-key", max_retries=0)
async_client = openai.AsyncOpenAI(api_key="sk-not-a-key", max_retries=0)


def calls_the_model(state: MessagesState) -> Any:
    return {"messages": [model.invoke(state["messages"])]}


def compiled(*nodes: Any, budget: Any = None, ledger: Any = LEDGER, **compiling: Any) -> Any:
    """A graph that runs these nodes one after the other."""
    graph: Any = BudgetedGraph(MessagesState, budget=budget or Budget(usd="1.00"), ledger=ledger)
    for before, node in zip((START, *(n.__name__ for n in nodes)), nodes, strict=False):
        graph.add_node(node.__name__, node)
        graph.add_edge(before, node.__name__)
    return graph.add_edge(nodes[-1].__name__, END).compile(**compiling)


def calls_the_sdk(state: MessagesState) -> Any:
    with suppress(openai.APIConnectionError):
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hi."}])
    return calls_the_model(state)


async def calls_the_async_sdk(state: MessagesState) -> Any:
    with suppress(openai.APIConnectionError):
        await async_client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hi."}])
    return {"messages": [await model.ainvoke(state["messages"])]}


def calls_by_hand(state: MessagesState) -> Any:
    with suppress(httpx.ConnectError):
        httpx.post("https://api.anthropic.com/v1/messages", json={"model": "claude-sonnet-4-5"})
    return calls_the_model(state)


def calls_in_a_raw_thread(state: MessagesState) -> Any:
    worker = threading.Thread(target=lambda: plain.invoke("Hi."))
    worker.start()
    worker.join()
    return calls_the_model(state)


def makes_its_own_model(state: MessagesState) -> Any:
    return {
        "messages": [ChatAnthropic(model_name="claude-sonnet-4-5", api_key=KEY, timeout=9, stop=None).invoke("Hi.")]
    }


def streams(state: MessagesState) -> Any:
    local = ChatOpenAI(model="gpt-4o", api_key=KEY, base_url="http://127.0.0.1:1/v1", max_retries=0)
    return {"messages": list(local.stream("Hi."))[:1]}


def has_no_price(state: MessagesState) -> Any:
    return {"messages": [ChatOpenAI(model="house-model-9", api_key=KEY, max_retries=0).invoke("Hi.")]}


def embeds(state: MessagesState) -> Any:
    with suppress(openai.APIConnectionError):
        embeddings.embed_query("Hi.")
    return calls_the_model(state)


def embeds_past_the_budget(state: MessagesState) -> Any:
    with suppress(openai.APIConnectionError):
        plain_embeddings.embed_query("Hi.")
    return calls_the_model(state)


def fails(state: MessagesState) -> Any:
    raise KeyError(model.invoke(state["messages"]).text)


def exits(state: MessagesState) -> Any:
    calls_the_model(state)
    sys.exit(0)


def ends(answer: Any) -> Any:
    sys.exit(f"{answer.text} was no use")


async def exits_on_the_loop(state: MessagesState) -> Any:
    await model.ainvoke(state["messages"])
    sys.exit(0)


def looks_something_up(state: MessagesState) -> Any:
    with suppress(httpx.ConnectError):
        httpx.get("https://example.com/")
    return calls_the_model(state)


SUSPENDS = Budget(usd="1.00", on_exhausted="suspend")

sdk = compiled(calls_the_sdk)
async_sdk = compiled(calls_the_async_sdk)
by_hand = compiled(calls_by_hand)
raw_thread = compiled(calls_in_a_raw_thread)
retrying = compiled(makes_its_own_model)
no_usage = compiled(streams)
no_price = compiled(has_no_price)
embedding = compiled(embeds)
embedding_past = compiled(embeds_past_the_budget)
failing = compiled(fails)
exiting = compiled(exits)
exiting_on_the_loop = compiled(exits_on_the_loop)
looking_up = compiled(looks_something_up)
in_memory = compiled(calls_the_model, ledger=None)
watching = compiled(calls_the_model, budget=Budget(usd="1.00", mode="shadow"))
no_spend_limit = compiled(calls_the_model, budget=Budget(loops=3))
unsafe_checkpoints = compiled(
    calls_the_model, checkpointer=InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=True))
)
pickles = compiled(
    calls_the_model,
    checkpointer=InMemorySaver(serde=JsonPlusSerializer(pickle_fallback=True, allowed_msgpack_modules=None)),
)
suspends = compiled(calls_the_model, budget=SUSPENDS)
suspends_in_memory = compiled(calls_the_model, budget=SUSPENDS, checkpointer=InMemorySaver(serde=STRICT))

ungoverned_graph: Any = StateGraph(MessagesState)
ungoverned_graph.add_node("calls", lambda state: {"messages": [plain.invoke(state["messages"])]})
ungoverned_graph.add_edge(START, "calls")
ungoverned = ungoverned_graph.compile()

chain = ChatPromptTemplate.from_template("Tell me about {topic}.") | plain
exiting_chain = (ChatPromptTemplate.from_template("Tell me about {topic}.") | plain | RunnableLambda(ends)).with_config(
    callbacks=[CostCallback(budget=Budget(usd="1.00"), ledger=LEDGER)]
)
counted_chain = chain.with_config(callbacks=[CostCallback(ledger=LEDGER)])

no_model: Any = BudgetedGraph(MessagesState, budget=Budget(usd="1.00"), ledger=LEDGER)
no_model = no_model.add_node("nothing", lambda state: {}).add_edge(START, "nothing").compile()

not_an_app = 3
not_compiled = ungoverned_graph
