"""Records of ours state the unit prices that they were charged at, which may be in no list that replay has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents import replay
from budgeted_agents.prices import Price, PriceBook
from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.formats.otlp import FORMAT
from budgeted_agents.traces.records.journal import Journal
from budgeted_agents.usage import Usage
from tests.traces.audit.rows import CLAUDE
from tests.traces.formats.otlp_lines import chat, line, write
from tests.traces.support import a_call

LINEAR = {**CLAUDE, "output_cost_per_reasoning_token": "0.00002", "input_cost_per_request": "0.001"}
BOOK = PriceBook({"house-model": LINEAR, "claude-opus-4-6": LINEAR}, source="own prices")
counts = st.integers(0, 300_000)


def recorded(folder: Path, usage: Usage, model: str = "house-model", price: Price | None = None) -> Path:
    """A journal with one call of a model, charged at its price."""
    price = price or BOOK.price(model)
    names = {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}
    parts = ("cache_read", "cache_write_5m", "cache_write_1h", "reasoning", "web_searches")
    call = a_call(
        model_asked=model,
        model_used=model,
        model_billed=model,
        provider="",
        usage={**names, **{name: getattr(usage, name) for name in parts}},
        unit_prices=price.unit_prices(usage.prompt_tokens),
        price_source=price.source,
        cost=price.cost(usage),
    )
    Journal(folder).call(call)
    return folder


@given(
    st.builds(Usage, counts, counts, counts, counts, output=counts, reasoning=counts, web_searches=st.integers(0, 3))
)
def test_a_record_at_a_price_of_the_user_s_own_is_priced_by_itself(
    tmp_path_factory: pytest.TempPathFactory, usage: Usage
) -> None:
    """To the nano-USD, whatever the size of its prompt; and it never counts as proven."""
    report = replay(recorded(tmp_path_factory.mktemp("journal") / "j", usage))
    (session,) = report.sessions
    assert session.figures.cost_usd == session.figures.recorded_cost_usd
    assert (session.verdict, session.flags) == ("explained_by_logged_price", ("priced_by_log",))
    assert report.price_sources == ("own prices",)


def test_a_record_at_another_price_than_the_list_s_is_explained(tmp_path: Path) -> None:
    (session,) = replay(recorded(tmp_path, Usage(input=1000, output=50), "claude-opus-4-6")).sessions
    assert (session.verdict, session.flags) == ("explained_by_logged_price", ())
    assert session.figures.cost_usd != session.figures.recorded_cost_usd


def test_a_record_at_the_list_s_price_is_exact(tmp_path: Path) -> None:
    listed = PriceBook.default().price("claude-opus-4-6")
    (session,) = replay(recorded(tmp_path, Usage(input=1000, output=50), "claude-opus-4-6", listed)).sessions
    assert (session.verdict, session.flags) == ("exact", ())


@pytest.mark.parametrize("stated", [{}, {"input": "0", "output": "0"}, {"output": "0.1"}])
def test_no_price_is_not_a_price_of_zero(tmp_path: Path, stated: dict[str, str]) -> None:
    prices: dict[str, Any] = {f"budget.unit_price.{name}": price for name, price in stated.items()}
    source = FileSource(write(tmp_path / "a.jsonl", line(chat("a", budget__reservation__id="r", **prices))))
    assert [call.logged_price for call in FORMAT.read(source)] == [None]
    assert source.problems.kept == []


def test_a_bad_price_leaves_the_record(tmp_path: Path) -> None:
    ours = {"budget.reservation.id": "r", "budget.unit_price.input": "much", "budget.unit_price.output": "1e-6"}
    source = FileSource(write(tmp_path / "a.jsonl", line(chat("a", **ours)), line(chat("b", **ours))))
    assert [call.logged_price for call in FORMAT.read(source)] == [None, None]
    assert [problem.line for problem in source.problems.kept] == [1]
    assert "the price it states is none" in str(source.problems.kept[0])
