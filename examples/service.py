"""An async service with one budget for each user, kept in one SQLite ledger.

    python -m examples.service --usd 0.05 --ledger sqlite:///spend.db
    curl -H "X-User: ada" -d '{"thread": "t1", "text": "Hello."}' http://127.0.0.1:8000/chat
    curl -H "X-User: ada" http://127.0.0.1:8000/spend

The handlers are plain coroutines of ``ChatService``, as any web framework takes them (with FastAPI:
``fastapi.FastAPI().post("/chat")(...)``); the few lines of HTTP below them keep the example free of dependencies. Any
number of workers may serve the same ledger: a user's cap holds over all of them. Who is served is said by a header
here; a real service takes it from the login.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState

from budgeted_agents import Budget, BudgetedGraph, budgeted_model, open_ledger
from budgeted_agents.errors import BudgetedAgentsError
from budgeted_agents.ledgers import Ledger
from budgeted_agents.reports import account_report

TIERS = ("openai/gpt-4o", "openai/gpt-4o-mini")
LONGEST_REQUEST = 64_000


def user_budget(usd: str) -> Budget:
    """So much for each user and day; the last 5 % are kept for an answer that says the day's budget is spent."""
    return Budget(name="user", per=("user",), window="day", usd=usd, landing_reserve=0.05)


class ChatService:
    """The handlers. ``ledger`` is shared by all requests, and by all workers that open the same URL."""

    def __init__(self, model: Any, budget: Budget, ledger: Ledger) -> None:
        self.ledger = ledger

        async def reply(state: MessagesState) -> Any:
            return {"messages": [await model.ainvoke(state["messages"])]}

        graph: Any = BudgetedGraph(MessagesState, budget=budget, ledger=ledger)
        graph.add_node("reply", reply)
        graph.add_edge(START, "reply")
        self.app = graph.compile(checkpointer=InMemorySaver())

    async def chat(self, user: str, thread: str, text: str) -> dict[str, Any]:
        """Answer a user's message in one of the user's own threads."""
        config = {"configurable": {"thread_id": f"{user}/{thread}"}, "metadata": {"user": user}}
        state = await self.app.ainvoke({"messages": [HumanMessage(text)]}, config)
        report = await asyncio.to_thread(self.app.spend, config)
        return {
            "answer": state["messages"][-1].text,
            "thread_usd": str(report.cost_usd),
            "landed": bool(report.landing),
        }

    async def spend(self, user: str) -> dict[str, Any]:
        """What a user has spent and has left, in nano-USD, by day."""
        report = await asyncio.to_thread(
            account_report, self.ledger, now=time.time(), budget="user", scope={"user": user}
        )
        days = {b.account.window: {"spent": b.spent, "held": b.held, "available": b.available} for b in report.balances}
        return {"user": user, "days": days}

    async def serve(self, host: str = "127.0.0.1", port: int = 8000) -> asyncio.Server:
        """Serve the handlers over HTTP; the server is running when this returns."""
        return await asyncio.start_server(self._serve_one, host, port)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            status, body = await self._answered(reader)
            text = json.dumps(body).encode()
            head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n"
            writer.write(f"{head}Connection: close\r\n\r\n".encode() + text)
            await writer.drain()
        finally:
            writer.close()

    async def _answered(self, reader: asyncio.StreamReader) -> tuple[str, dict[str, Any]]:
        try:
            method, path, headers, body = await _request(reader)
            user = headers.get("x-user", "")
            if not user:
                return "401 Unauthorized", {"error": "Who are you? Send the header X-User."}
            if (method, path) == ("POST", "/chat"):
                asked = json.loads(body)
                return "200 OK", await self.chat(user, str(asked["thread"]), str(asked["text"]))
            if (method, path) == ("GET", "/spend"):
                return "200 OK", await self.spend(user)
            return "404 Not Found", {"error": f"There is no {method} {path} here."}
        except (ValueError, KeyError, TypeError, asyncio.IncompleteReadError) as error:
            return "400 Bad Request", {"error": f"{type(error).__name__}: {error}"}
        except BudgetedAgentsError as error:
            return "503 Service Unavailable", {"error": str(error)}


async def _request(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str], bytes]:
    """Method, path, headers in lower case, and body of a request."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "0"))
    if length > LONGEST_REQUEST:
        raise ValueError(f"a request may have {LONGEST_REQUEST:,} bytes, not {length:,}")
    return method, path, headers, await reader.readexactly(length)


async def _run(options: argparse.Namespace) -> None:
    service = ChatService(budgeted_model(*TIERS), user_budget(options.usd), open_ledger(options.ledger))
    server = await service.serve(port=options.port)
    print(f"http://127.0.0.1:{options.port} with ${options.usd} for each user and day")
    async with server:
        await server.serve_forever()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until it is interrupted."""
    parser = argparse.ArgumentParser(description="A chat service with one budget for each user.")
    parser.add_argument("--usd", default="0.05", help="for each user and day (default: %(default)s)")
    parser.add_argument("--ledger", default="sqlite:///spend.db", help="(default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="(default: %(default)s)")
    asyncio.run(_run(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
