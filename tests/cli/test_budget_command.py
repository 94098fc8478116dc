"""``budgeted-agents budget show | check | top-up``, on real ledger files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from budgeted_agents.ledgers import Account, Hold, Reservation, open_ledger

Command = Callable[..., tuple[int, str, str]]

SESSION = Account("session", (("session", "t1"),), "", "usd")
TENANTS = [Account("tenant", (("tenant", "acme"),), window, "usd") for window in ("m:2026-10", "m:2026-11")]


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    """A ledger with an account of a session and two of a tenant."""
    url = f"sqlite:///{tmp_path / 'spend.db'}"
    book = open_ledger(url)
    for number, account in enumerate([SESSION, *TENANTS]):
        held = book.reserve(
            f"r{number}", [Hold(account, 10**9, 4 * 10**8)], floor=0, ask=0, now=1.0, ttl=60, session="t1"
        )
        assert isinstance(held, Reservation)
        book.settle(f"r{number}", {"usd": 3 * 10**8 + number}, now=2.0)
    book.close()
    return url


def test_show_prints_balances_and_filters_them(run: Command, ledger: str) -> None:
    code, out, _ = run("budget", "show", ledger)
    assert code == 0
    assert out.count("$0.30") == 3
    assert json.loads(run("budget", "show", ledger, "--scope", "session=t1", "--json")[1])["balances"] == [
        {
            "budget": "session",
            "scope": {"session": "t1"},
            "window": "",
            "unit": "usd",
            "limit": 10**9,
            "spent": 3 * 10**8,
            "held": 0,
            "available": 7 * 10**8,
            "presumed": 0,
            "credit": 0,
        }
    ]
    by_tenant = json.loads(run("budget", "show", ledger, "--tenant", "acme", "--json")[1])["balances"]
    assert [balance["window"] for balance in by_tenant] == ["m:2026-11", "m:2026-10"]
    assert json.loads(run("budget", "show", ledger, "--budget", "other", "--json")[1])["balances"] == []


def test_top_up_raises_the_limit_once_and_says_who_did_it(run: Command, ledger: str) -> None:
    arguments = ("--budget", "session", "--scope", "session=t1", "--usd", "5", "--by", "me", "--reason", "demo")
    for _ in range(2):
        code, out, _ = run("budget", "top-up", ledger, *arguments, "--id", "ticket-1", "--json")
        assert code == 0
        (balance,) = json.loads(out)["balances"]
        assert (balance["limit"], balance["credit"], balance["spent"]) == (6 * 10**9, 5 * 10**9, 3 * 10**8)
    (top_up,) = json.loads(out)["top_ups"]
    assert (top_up["amount"], top_up["by"], top_up["reason"]) == (5 * 10**9, "me", "demo")
    assert "topped up: $5.00 for budget 'session' by me: demo" in run("budget", "show", ledger)[1]


def test_top_up_of_a_window_names_it(run: Command, ledger: str) -> None:
    arguments = ("budget", "top-up", ledger, "--budget", "tenant", "--scope", "tenant=acme", "--usd", "1", "--by", "me")
    code, _, err = run(*arguments)
    assert code == 2
    assert "m:2026-10, m:2026-11" in err
    code, out, _ = run(*arguments, "--window", "m:2026-11", "--json")
    assert code == 0
    assert {b["window"]: b["credit"] for b in json.loads(out)["balances"]} == {"m:2026-10": 0, "m:2026-11": 10**9}


WRONG: list[tuple[tuple[str, ...], str]] = [
    (("--budget", "sesion", "--scope", "session=t1", "--usd", "5"), "Its budgets: session, tenant"),
    (("--budget", "session", "--scope", "session=t2", "--usd", "5"), "is charged to no account"),
    (("--budget", "session", "--scope", "session=t1", "--tokens", "5"), "What is limited: usd"),
    (("--budget", "session", "--scope", "session=t1"), "nothing is to be added"),
    (("--budget", "session", "--scope", "session=t1", "--usd", "-5"), "is negative"),
    (("--budget", "session", "--scope", "session", "--usd", "5"), "--scope wants a dimension"),
]


@pytest.mark.parametrize(("arguments", "reason"), WRONG)
def test_a_wrong_top_up_changes_nothing(run: Command, ledger: str, arguments: tuple[str, ...], reason: str) -> None:
    before = run("budget", "show", ledger, "--json")[1]
    code, out, err = run("budget", "top-up", ledger, "--by", "me", *arguments)
    assert (code, out) == (2, "")
    assert reason in err
    assert run("budget", "show", ledger, "--json")[1] == before


@pytest.mark.parametrize(
    "command",
    [
        ("budget", "show"),
        ("budget", "top-up", "--budget", "b", "--usd", "1", "--by", "me"),
        ("report",),
        ("report", "--session", "t1"),
    ],
)
def test_a_ledger_that_is_not_there_is_not_made(run: Command, tmp_path: Path, command: tuple[str, ...]) -> None:
    code, _, err = run(*command, f"sqlite:///{tmp_path / 'other.db'}")
    assert code == 2
    assert "is not there" in err
    assert list(tmp_path.iterdir()) == []
    assert run(*command, "memory://")[0] == 2


GOOD = """
[[budgets]]
name = "tenant-month"
per = ["tenant"]
window = "month"
usd = "5000"

[[budgets]]
usd = "1.50"
tool_calls = { search = 5 }
on_exhausted = "suspend"
mode = "shadow"
"""


def test_check_shows_a_policy(run: Command, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(GOOD)
    code, out, _ = run("budget", "check", str(policy))
    assert code == 0
    assert "tenant-month" in out
    assert "only watches" in out
    budgets: list[dict[str, Any]] = json.loads(run("budget", "check", str(policy), "--json")[1])["budgets"]
    assert [budget["limits"] for budget in budgets] == [
        {"usd": "5000"},
        {"usd": "1.5", "tool_calls": {"search": 5}},
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("[[budgets]]\nusd = -1", "budgets[0]"), ("budgets = 3", "lists no budget"), ("[[", "cannot be understood")],
)
def test_check_refuses_a_wrong_policy(run: Command, tmp_path: Path, text: str, reason: str) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(text)
    code, out, err = run("budget", "check", str(policy))
    assert (code, out) == (2, "")
    assert reason in err
    assert str(policy) in err
