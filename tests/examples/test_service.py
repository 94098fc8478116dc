"""The service's example, over real HTTP: concurrent users, each within their own cap, and the bill is the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from budgeted_agents import budgeted_model, open_ledger
from budgeted_agents.money import NANO
from budgeted_agents.testing import LocalProvider, fill
from examples.service import ChatService, user_budget
from tests.langgraph.support import openai_model, serving

USERS = ("ada", "bob", "cem", "dov")
CAP = Decimal("0.02")


@asynccontextmanager
async def running(provider: LocalProvider, url: str, usd: Decimal = CAP) -> AsyncIterator[httpx.AsyncClient]:
    """The service, served on a free port, and a client of it."""
    ledger = open_ledger(url)
    service = ChatService(budgeted_model(openai_model(provider, max_tokens=400)), user_budget(str(usd)), ledger)
    async with await service.serve(port=0) as server:
        port = server.sockets[0].getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            yield client
    ledger.close()


async def chat(client: httpx.AsyncClient, user: str, thread: str) -> Any:
    body = {"thread": thread, "text": "Tell me more."}
    answer = await client.post("/chat", headers={"X-User": user}, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def spent(client: httpx.AsyncClient, user: str) -> int:
    """Nano-USD that a user has spent, after the check that nothing is left held and no day's cap was passed."""
    days = (await client.get("/spend", headers={"X-User": user})).json()["days"]
    assert all(day["held"] == 0 and day["spent"] <= CAP * NANO for day in days.values())
    return sum(int(day["spent"]) for day in days.values())


async def test_every_users_cap_holds_and_the_bill_is_the_ledger(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'spend.db'}"
    with serving(fill(400)) as provider:
        async with running(provider, url) as client, running(provider, url) as other_worker:
            workers = (client, other_worker)
            asks = [chat(workers[n % 2], user, f"t{n % 3}") for n in range(8) for user in USERS]
            answers = await asyncio.gather(*asks)
            by_user = {user: await spent(client, user) for user in USERS}
        assert all(answer["answer"] for answer in answers)
        assert any(answer["landed"] for answer in answers)
        assert all(nanos > 0 for nanos in by_user.values())
        assert sum(by_user.values()) == provider.bill_nanos


async def test_one_users_spending_leaves_the_others_theirs(tmp_path: Path) -> None:
    with serving(fill(400)) as provider:
        async with running(provider, f"sqlite:///{tmp_path / 'spend.db'}") as client:
            while not (await chat(client, "ada", "t1"))["landed"]:
                pass
            before = len(provider.requests)
            assert not (await chat(client, "bob", "t1"))["landed"]
            assert len(provider.requests) == before + 1


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("GET", "/spend", {}, b"", 401),
        ("GET", "/other", {"X-User": "ada"}, b"", 404),
        ("POST", "/chat", {"X-User": "ada"}, b"{", 400),
        ("POST", "/chat", {"X-User": "ada"}, b"{}", 400),
        ("POST", "/chat", {"X-User": "ada"}, b" " * 70_000, 400),
    ],
)
async def test_bad_requests_cost_nothing(
    method: str, path: str, headers: dict[str, str], body: bytes, status: int, tmp_path: Path
) -> None:
    with serving() as provider:
        async with running(provider, f"sqlite:///{tmp_path / 'spend.db'}") as client:
            answer = await client.request(method, path, headers=headers, content=body)
            assert answer.status_code == status
            assert answer.json()["error"]
        assert len(provider.requests) == 0
