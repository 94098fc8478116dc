"""Prices on the day of a call: a user's own lists, former prices out of the history, and today's."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import genai_prices
import pytest

from budgeted_agents.errors import InvalidPrice
from budgeted_agents.prices import DatedPrices, Price, PriceBook, PricesLike
from budgeted_agents.prices.dated import parse_day
from budgeted_agents.prices.history import PriceHistory
from budgeted_agents.usage import Usage

USAGE = Usage(input=1000, cache_read=400, cache_write_5m=200, cache_write_1h=100, output=500)
LARGE = Usage(input=250_000, cache_read=40_000, output=500)
NANO_ROUNDED_UP = Decimal("1.001")  # ours rounds up; rates like 1/12 are cut off


def day(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


def row(price: str) -> dict[str, Any]:
    return {"input_cost_per_token": price, "output_cost_per_token": price}


def input_price(price: Price | None) -> str:
    assert price is not None
    return price.unit_prices()["input"]


@pytest.fixture(scope="module")
def history() -> PriceHistory:
    assert PriceHistory.is_installed()
    return PriceHistory()


@pytest.fixture
def dated_file(tmp_path: Path) -> Path:
    path = tmp_path / "prices.json"
    lists = {
        "2025-01-01_first": {"m": row("0.000001"), "retired": row("0.000007")},
        "2025-06-01_second": {"m": row("0.000002")},
    }
    path.write_text(json.dumps(lists))
    return path


@pytest.mark.parametrize(
    ("on", "price"),
    [
        ("2024-07-01", "0.000001"),  # before the first list: the oldest is the nearest
        ("2025-05-31", "0.000001"),
        ("2025-06-01", "0.000002"),
        ("2026-01-01", "0.000002"),
    ],
)
def test_the_newest_list_that_was_out_holds(dated_file: Path, on: str, price: str) -> None:
    assert input_price(DatedPrices.load(dated_file).on(day(on), "m")) == price


def test_a_model_that_left_the_list_keeps_its_last_price(dated_file: Path) -> None:
    assert input_price(DatedPrices.load(dated_file).on(day("2026-01-01"), "retired")) == "0.000007"


def test_own_prices_win_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"gpt-4o": row("0.5")}))
    prices = DatedPrices.load(path)
    assert input_price(prices.on(day("2025-01-01"), "gpt-4o")) == "0.5"
    assert prices.on(day("2025-01-01"), "gpt-4o-mini") is not None


def test_an_unknown_model_has_no_price() -> None:
    assert DatedPrices.load().on(day("2025-01-01"), "no-such-model") is None


def test_a_former_price_holds_until_it_was_replaced() -> None:
    prices = DatedPrices.load()
    assert input_price(prices.on(day("2025-05-01"), "o3")) == "0.00001"
    assert input_price(prices.on(day("2025-07-01"), "o3")) == "0.000002"
    assert input_price(prices.on(0, "o3")) == "0.000002"


@pytest.mark.parametrize("on", ["2026-03-01", "2026-11-01"])  # before and after a former price was replaced
def test_a_region_is_as_much_dearer_at_any_time(on: str) -> None:
    prices = DatedPrices.load()
    usual, there = (prices.on(day(on), "claude-opus-4-6", region=region) for region in ("", "us"))
    assert usual is not None
    assert there is not None
    assert there.source == usual.source
    assert there.cost(USAGE) * 10 == usual.cost(USAGE) * 11


def test_a_region_costs_more_by_a_user_s_own_list(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"m": row("0.000001") | {"provider_specific_entry": {"us": 1.5}}}))
    assert input_price(DatedPrices.load(path).on(0, "m", region="us")) == "0.0000015"
    assert input_price(DatedPrices.load(path).on(0, "m", region="eu")) == "0.000001"


def test_as_of_prices_every_call_on_one_day() -> None:
    prices = DatedPrices.load(as_of=date(2025, 5, 1))
    assert {input_price(prices.on(on, "o3")) for on in (0, day("2024-01-01"), day("2026-01-01"))} == {"0.00001"}


def test_as_of_holds_for_whatever_prices_are_given(dated_file: Path) -> None:
    given: list[PricesLike] = [dated_file, str(dated_file), DatedPrices.load(dated_file)]
    for prices in given:
        found = DatedPrices.of(prices, as_of=date(2025, 3, 1))
        assert {input_price(found.on(on, "m")) for on in (0, day("2026-01-01"))} == {"0.000001"}
        assert input_price(DatedPrices.of(prices).on(day("2026-01-01"), "m")) == "0.000002"
    book = PriceBook({"m": row("0.000003")})
    assert input_price(DatedPrices.of(book, as_of=date(2025, 3, 1)).on(0, "m")) == "0.000003"


@pytest.mark.parametrize("model", ["gpt-4o", "azure/gpt-4o", "models/gemini-2.5-pro", "ollama/own", "no-such-model"])
def test_an_empty_provider_or_region_is_none_given(model: str) -> None:
    prices = DatedPrices.load()
    assert prices.on(0, model, "", "") is prices.on(0, model)
    assert PriceBook.default().find(model, "", "") is PriceBook.default().find(model)


def test_without_a_history_the_current_list_holds() -> None:
    prices = DatedPrices(PriceBook.default())
    assert input_price(prices.on(day("2025-05-01"), "o3")) == "0.000002"


def test_a_price_is_found_under_other_words_for_its_provider(history: PriceHistory) -> None:
    for provider in ("gcp.gemini", "google", "gemini"):
        found = history.on(date(2025, 7, 1), "gemini-2.0-flash", provider)
        assert input_price(found) == "0.0000001"


@pytest.mark.parametrize(
    ("model", "maker"),
    [("claude-sonnet-4-5", "anthropic"), ("gemini-2.5-flash", "gcp.vertex_ai"), ("grok-4", "x_ai"),
     ("mistral-large-latest", "mistral_ai")],
)  # fmt: skip
def test_what_openai_s_client_called_costs_what_its_maker_charges(model: str, maker: str) -> None:
    prices = DatedPrices.load()
    assert input_price(prices.on(0, model, "openai")) == input_price(prices.on(0, model, maker))
    assert prices.on(0, "no-such-model", "openai") is None
    assert prices.on(0, model, "cohere") is None


def test_a_price_that_depends_on_the_hour_is_passed_over(history: PriceHistory) -> None:
    assert history.on(date(2025, 7, 1), "deepseek-chat", "deepseek") is None


@pytest.mark.parametrize("usage", [USAGE, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("on", [date(2025, 3, 1), date(2026, 2, 1), date(2026, 11, 1)], ids=str)
def test_costs_agree_with_the_list_s_own_arithmetic(history: PriceHistory, on: date, usage: Usage) -> None:
    differ, compared = {}, 0
    for provider, model in dated_models():
        price = history.on(on, model, provider)
        if price is None:
            continue
        compared += 1
        theirs = genai_prices.calc_price(
            genai_prices.Usage(
                input_tokens=usage.prompt_tokens,
                cache_read_tokens=usage.cache_read,
                cache_write_tokens=usage.cache_write_5m + usage.cache_write_1h,
                cache_write_1h_tokens=usage.cache_write_1h,
                output_tokens=usage.completion_tokens,
            ),
            model,
            provider_id=provider,
            genai_request_timestamp=datetime(on.year, on.month, on.day, 12, tzinfo=UTC),
        ).total_price
        if abs(price.cost(usage) - theirs * 10**9) > NANO_ROUNDED_UP:
            differ[provider, model] = (price.cost(usage), theirs)
    assert compared > 100
    assert differ == {}


def dated_models() -> list[tuple[str, str]]:
    from genai_prices.data import providers

    return [(p.id, model.id) for p in providers for model in p.models if isinstance(model.prices, list)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"2025-13-01": {}}', "is no day"),
        ('{"2025-01-01": 3}', "is not a JSON object of models"),
        ('{"2025-01-01": {"m": {"input_cost_per_token": -1}}}', "is negative"),
        ("[]", "is not a JSON object"),
        ("{", "is not JSON"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(InvalidPrice, match=says):
        DatedPrices.load(path)


def test_days() -> None:
    assert parse_day("2025-06-11") == date(2025, 6, 11)
    assert parse_day("today") == datetime.now(UTC).date()
    assert parse_day(datetime(2025, 6, 11, 23, tzinfo=UTC)) == parse_day(date(2025, 6, 11)) == date(2025, 6, 11)
    assert parse_day(None) is None
    with pytest.raises(InvalidPrice, match="is no day"):
        parse_day("June")
    with pytest.raises(InvalidPrice, match="is no day"):
        parse_day(5)  # type: ignore[arg-type]
