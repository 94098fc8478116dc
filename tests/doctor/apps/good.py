"""Applications that a doctor has nothing to say against."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import Any

from langchain.agents import create_agent
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.config import get_config
from langgraph.graph import END, START, MessagesState
from langgraph.prebuilt import ToolNode
from langgraph.runtime import get_runtime
from pydantic import BaseModel, Field, SecretStr

from budgeted_agents import Budget, BudgetedGraph, BudgetMiddleware, CostCallback, budgeted, budgeted_model

KEY = SecretStr("sk-not-a-key")
FOLDER = tempfile.TemporaryDirectory()
LEDGER = f"sqlite:///{FOLDER.name}/spend.db"
STRICT = JsonPlusSerializer(allowed_msgpack_modules=None)


class Verdict(BaseModel):
    """What a judge says."""

    score: int = Field(ge=1, le=5)
    reason: str


@tool
def delete_everything(path: str) -> str:
    """Deletes everything."""
    raise AssertionError(f"the doctor deleted {path}")


models = (ChatOpenAI(model="gpt-4o", api_key=KEY), ChatOpenAI(model="gpt-4o-mini", api_key=KEY))
model = budgeted_model(*models)


def agent(state: MessagesState) -> Any:
    return {"messages": [model.bind_tools([delete_everything]).invoke(state["messages"])]}


async def judge(state: MessagesState) -> Any:
    verdict = await model.with_structured_output(Verdict).ainvoke(state["messages"])
    assert isinstance(verdict, Verdict)
    chunks = [chunk async for chunk in model.astream(f"Say {verdict.score} in words.")]
    return {"messages": chunks[:1]}


graph: Any = BudgetedGraph(MessagesState, budget=Budget(usd="1.00"), ledger=LEDGER)
graph.add_node("agent", agent)
graph.add_node("tools", ToolNode([delete_everything]))
graph.add_node("judge", judge)
graph.add_edge(START, "agent")
graph.add_conditional_edges("agent", lambda state: "tools" if state["messages"][-1].tool_calls else "judge")
graph.add_edge("tools", "agent")
graph.add_edge("judge", END)
app = graph.compile(checkpointer=InMemorySaver(serde=STRICT))

wrapped = budgeted(create_agent(model, [delete_everything]), budget=Budget(usd="1.00"), ledger=LEDGER)

callback = CostCallback(budget=Budget(usd="1.00"), ledger=LEDGER)
limited = ChatOpenAI(model="gpt-4o", api_key=KEY, max_retries=0, max_completion_tokens=500)
chain = (ChatPromptTemplate.from_template("Tell me about {topic}.") | limited).with_config(callbacks=[callback])

middleware = BudgetMiddleware(budget=Budget(usd="1.00"), ledger=LEDGER)
agent_with_middleware = create_agent(limited, [delete_everything], middleware=[middleware])


@dataclass
class Caller:
    """Who calls a graph."""

    name: str
    age: int = 0


def looks_at_the_caller(state: MessagesState) -> Any:
    caller, configurable = get_runtime(Caller).context, get_config()["configurable"]
    seen.append((caller, configurable.get("place"), configurable["thread_id"]))
    return {"messages": [model.invoke(f"Greet {caller.name}.")]}


seen: list[Any] = []
per_tenant = Budget(per=("tenant",), usd="1.00")
with_context: Any = BudgetedGraph(MessagesState, context_schema=Caller, budget=per_tenant, ledger=LEDGER)
with_context = with_context.add_node(looks_at_the_caller).add_edge(START, "looks_at_the_caller").compile()
