"""Finding a model's price, overriding it, and refusing what is unknown or wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from budgeted_agents.errors import InvalidPrice, UnknownPrice
from budgeted_agents.prices import Price, PriceBook
from budgeted_agents.usage import Usage

BOOK = PriceBook.default()
ROW = {"input_cost_per_token": "0.000001", "output_cost_per_token": "0.000002"}


@pytest.mark.parametrize(
    ("model", "provider", "row"),
    [
        ("gpt-4o", None, "gpt-4o"),
        ("gpt-4o-2024-08-06", None, "gpt-4o-2024-08-06"),
        ("openai/gpt-4o", None, "gpt-4o"),
        ("gpt-4o", "openai", "gpt-4o"),
        ("openai/gpt-4o", "openai", "gpt-4o"),
        ("azure/gpt-4o", None, "azure/gpt-4o"),
        ("gpt-4o", "azure", "azure/gpt-4o"),
        ("gpt-4o", "azure.ai.openai", "azure/gpt-4o"),
        ("gpt-4o", "azure.ai.inference", "azure/gpt-4o"),
        ("gpt-4o", "azure-openai.chat", "azure/gpt-4o"),
        ("gpt-4o", "openai.responses", "gpt-4o"),
        ("mistral-large-latest", "mistral.chat", "mistral/mistral-large-latest"),
        ("gemini-2.5-flash", "google.generative-ai", "gemini/gemini-2.5-flash"),
        ("gemini-2.5-flash", "google.vertex.chat", "gemini-2.5-flash"),
        ("anthropic/claude-sonnet-4-5", None, "claude-sonnet-4-5"),
        ("claude-opus-4-6[1m]", None, "claude-opus-4-6"),
        ("anthropic/claude-opus-4-6[1m]", None, "claude-opus-4-6"),
        ("gemini/gemini-2.5-flash", None, "gemini/gemini-2.5-flash"),
        ("gemini-2.5-flash", "google_genai", "gemini/gemini-2.5-flash"),
        ("models/gemini-2.5-flash", "google_genai", "gemini/gemini-2.5-flash"),
        ("models/gemini-2.5-flash", None, "gemini-2.5-flash"),
        ("gemini-2.5-flash", "gcp.vertex_ai", "gemini-2.5-flash"),
        ("bedrock/us.anthropic.claude-opus-4-6-v1", None, "us.anthropic.claude-opus-4-6-v1"),
        ("bedrock/converse/us.anthropic.claude-opus-4-6-v1", None, "us.anthropic.claude-opus-4-6-v1"),
        ("us.anthropic.claude-opus-4-6-v1", "aws.bedrock", "us.anthropic.claude-opus-4-6-v1"),
        ("gpt-4o", "a host of one's own", "gpt-4o"),
        ("gpt-3.5-turbo-instruct", "openai", "gpt-3.5-turbo-instruct"),  # a row of "text-completion-openai"
        ("openai/davinci-002", None, "davinci-002"),
        ("babbage-002", "text-completion-openai", "babbage-002"),
        ("ft:davinci-002:acme::abc", "openai", "ft:davinci-002"),
        ("gpt-35-turbo-instruct", "azure", "azure/gpt-35-turbo-instruct"),
        ("ft:gpt-4o-mini-2024-07-18:acme:helper:abc", "openai", "ft:gpt-4o-mini-2024-07-18"),
        ("openai/ft:gpt-4o-mini-2024-07-18:acme::abc", None, "ft:gpt-4o-mini-2024-07-18"),
        (
            "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-opus-4-6-v1",
            "amazon_bedrock",
            "us.anthropic.claude-opus-4-6-v1",
        ),
        ("ollama/llama3.1", None, "ollama/llama3.1"),
    ],
)
def test_names_are_found_with_and_without_their_provider(model: str, provider: str | None, row: str) -> None:
    assert BOOK.price(model, provider).model == row


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("no-such-model", None),
        ("", None),
        ("openai/claude-sonnet-4-5", None),
        ("nobody/gpt-4o", None),
        ("gpt-4o", "anthropic"),
        ("davinci-002", "anthropic"),
        ("sample_spec", None),
        ("fallback_generalizations", None),
        ("github_copilot/gpt-4o", None),
        ("twelvelabs.pegasus-1-2-v1:0", None),
        ("ft:no-such-model:acme::abc", "openai"),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc123", "amazon_bedrock"),
        ("ollama", None),
    ],
)
def test_what_has_no_price_is_refused_and_never_free(model: str, provider: str | None) -> None:
    with pytest.raises(UnknownPrice) as caught:
        BOOK.price(model, provider)
    assert caught.value.model == model
    assert "register" in str(caught.value)


def test_a_misspelled_name_is_answered_with_the_nearest_known() -> None:
    with pytest.raises(UnknownPrice) as caught:
        BOOK.price("gpt-4oo")
    assert "gpt-4o" in caught.value.nearest
    assert "gpt-4o" in str(caught.value)


def test_a_row_without_token_prices_says_so() -> None:
    with pytest.raises(UnknownPrice, match="no price per token"):
        BOOK.price("github_copilot/gpt-4o")


def test_an_empty_book_says_where_prices_come_from() -> None:
    with pytest.raises(UnknownPrice, match="litellm"):
        PriceBook().price("gpt-4o")


def test_a_model_is_compiled_once_under_all_its_names() -> None:
    assert BOOK.price("gpt-4o") is BOOK.price("gpt-4o")
    assert BOOK.price("openai/gpt-4o-mini") is BOOK.price("gpt-4o-mini")


def test_the_default_book_is_one_book_and_names_its_source() -> None:
    assert PriceBook.default() is BOOK
    assert BOOK.price("gpt-4o").source.startswith("litellm ")
    assert "gpt-4o" in BOOK
    assert "no-such-model" not in BOOK


def test_an_embedding_model_charges_its_input() -> None:
    assert BOOK.price("text-embedding-3-small").cost(Usage(input=1_000_000)) == 20_000_000


def test_a_row_of_ones_own_serves_every_provider() -> None:
    book = BOOK.with_overrides({"tuned": ROW, "mine/tuned": {**ROW, "input_cost_per_token": 0}})
    assert book.price("tuned", "openai").model == "tuned"
    assert book.price("openai/tuned").model == "tuned"
    assert book.price("tuned", "mine").model == "mine/tuned"


@pytest.mark.parametrize(("model", "provider"), [("ollama/no-such:8b", None), ("no-such:8b", "ollama")])
def test_a_model_that_runs_on_ones_own_machine_costs_nothing_unless_one_says_so(
    model: str, provider: str | None
) -> None:
    book = PriceBook({"gpt-4o": ROW})
    assert book.price(model, provider).worst_case(10_000) == (0, 0)
    book.register({"ollama/no-such:8b": ROW})
    assert book.price(model, provider).cost(Usage(input=1)) == 1_000


@pytest.mark.parametrize("given", ["0.1", Decimal("0.1"), 0.1])
def test_a_price_is_exact_however_it_is_given(given: Any) -> None:
    book = PriceBook({"m": {"input_cost_per_token": given, "output_cost_per_token": 0}})
    assert book.price("m").cost(Usage(input=3)) == 300_000_000


def test_register_changes_the_fields_given_and_keeps_the_others() -> None:
    book = PriceBook({"m": {**ROW, "max_output_tokens": 99}}, source="contract")
    book.price("m")
    book.register({"m": {"output_cost_per_token": "0.000005"}}, source="new contract")
    price = book.price("m")
    assert price.cost(Usage(input=1, output=1)) == 6000
    assert price.max_output_tokens == 99
    assert price.source == "new contract"


def test_overrides_leave_the_book_they_start_from_alone() -> None:
    book = BOOK.with_overrides({"gpt-4o": {"input_cost_per_token": "0.000001"}})
    assert book.price("openai/gpt-4o").cost(Usage(input=1)) == 1000
    assert BOOK.price("openai/gpt-4o").cost(Usage(input=1)) == 2500


def test_a_file_wins_over_the_list_and_is_read_exactly(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text('{"gpt-4o": {"input_cost_per_token": 0.00000000000000012345}, "mine": {"input_cost_per_token": 0}}')
    book = PriceBook.from_file(path)
    assert book.price("gpt-4o").unit_prices()["input"] == "0.000000000000000124"
    assert book.price("gpt-4o").source == str(path)
    assert book.price("mine").cost(Usage(input=5)) == 0
    assert book.price("claude-sonnet-4-5").source.startswith("litellm ")
    assert "claude-sonnet-4-5" not in PriceBook.from_file(path, base=PriceBook())


BAD_PRICES: list[tuple[dict[str, Any], str]] = [
    ({"input_cost_per_token": -1}, "input_cost_per_token"),
    ({"input_cost_per_token": "-0.000001"}, "input_cost_per_token"),
    ({"input_cost_per_token": float("nan")}, "input_cost_per_token"),
    ({"input_cost_per_token": Decimal("NaN")}, "input_cost_per_token"),
    ({"input_cost_per_token": "nan"}, "input_cost_per_token"),
    ({"input_cost_per_token": float("inf")}, "input_cost_per_token"),
    ({"input_cost_per_token": "Infinity"}, "input_cost_per_token"),
    ({"input_cost_per_token": True}, "input_cost_per_token"),
    ({"input_cost_per_token": False}, "input_cost_per_token"),
    ({"input_cost_per_token": "cheap"}, "input_cost_per_token"),
    ({"input_cost_per_token": ""}, "input_cost_per_token"),
    ({"input_cost_per_token": b"0.1"}, "input_cost_per_token"),
    ({"input_cost_per_token": "2.50"}, "input_cost_per_token"),
    ({"output_cost_per_token": 10}, "output_cost_per_token"),
    ({"output_cost_per_token": -1e-9}, "output_cost_per_token"),
    ({"cache_read_input_token_cost": "-1"}, "cache_read_input_token_cost"),
    ({"cache_creation_input_token_cost_above_1hr": "x"}, "cache_creation_input_token_cost_above_1hr"),
    ({"input_cost_per_token_above_200k_tokens": -1}, "input_cost_per_token_above_200k_tokens"),
    ({"input_cost_per_token_flex": True}, "input_cost_per_token_flex"),
    ({"output_cost_per_token_batches": "1e400"}, "output_cost_per_token_batches"),
    ({"input_cost_per_request": 1e6}, "input_cost_per_request"),
    ({"input_cost_per_audio_token": (1,)}, "input_cost_per_audio_token"),
    ({"search_context_cost_per_query": {"search_context_size_medium": -1}}, "search_context_size_medium"),
    ({"search_context_cost_per_query": "0.01"}, "search_context_cost_per_query"),
    ({"provider_specific_entry": {"fast": -2}}, "provider_specific_entry.fast"),
    ({"provider_specific_entry": [2]}, "provider_specific_entry"),
    ({"tiered_pricing": "none"}, "tiered_pricing"),
    ({"tiered_pricing": [{"range": [0], "input_cost_per_token": 0}]}, "range"),
    ({"tiered_pricing": [{"range": [0, 10], "input_cost_per_token": -1}]}, "input_cost_per_token"),
    ({"max_output_tokens": -1}, "max_output_tokens"),
    ({"max_input_tokens": "many"}, "max_input_tokens"),
    ({"max_tokens": True}, "max_tokens"),
]


@pytest.mark.parametrize(("fields", "field"), BAD_PRICES)
def test_a_bad_price_is_refused_by_model_field_and_place_and_changes_nothing(
    fields: dict[str, Any], field: str
) -> None:
    book = PriceBook({"m": ROW})
    with pytest.raises(InvalidPrice) as caught:
        book.register({"good": ROW, "m": fields}, source="our contract")
    assert caught.value.field == field
    assert "our contract" in caught.value.place
    assert "'m'" in caught.value.place
    assert caught.value.remedy
    assert "good" not in book
    assert book.price("m").cost(Usage(input=1)) == 1000


@pytest.mark.parametrize("row", [None, 5, "0.1", [1]])
def test_a_row_that_is_no_mapping_is_refused(row: Any) -> None:
    with pytest.raises(InvalidPrice) as caught:
        PriceBook({"m": row})
    assert caught.value.field == "m"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"m": 1}', "m=1"),
        ('{"m": {"input_cost_per_token": NaN}}', "input_cost_per_token"),
        ('{"m": {"input_cost_per_token": -0.1}}', "input_cost_per_token"),
    ],
)
def test_a_bad_file_is_refused_by_file_and_key(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(InvalidPrice) as caught:
        PriceBook.from_file(path)
    assert named in str(caught.value)
    assert "prices.json" in f"{caught.value.place} {caught.value.value}"  # a long path is cut short in the message


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidPrice, match="cannot be read"):
        PriceBook.from_file(tmp_path / "absent.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidPrice, match="not JSON"):
        PriceBook.from_file(tmp_path / "binary.json")


def test_threads_share_one_book_and_one_price() -> None:
    book = BOOK.with_overrides({"m": ROW})
    barrier = threading.Barrier(8)
    found: list[Price] = []

    def look_up() -> None:
        barrier.wait()
        found.extend(book.price(name) for name in ("m", "gpt-4o", "openai/gpt-4o"))

    threads = [threading.Thread(target=look_up) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 24
    assert {price.model for price in found} == {"m", "gpt-4o"}


def test_registering_while_others_read_never_leaves_an_old_price_behind() -> None:
    book = PriceBook({"m": ROW})
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            book.price("m")

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for cents in range(1, 200):
        book.register({"m": {"input_cost_per_token": f"0.00{cents:03}"}})
        assert book.price("m").cost(Usage(input=1)) == cents * 10_000
    stop.set()
    for reader in readers:
        reader.join()


def test_prices_are_read_without_importing_litellm() -> None:
    program = (
        "import sys, json; from budgeted_agents.prices import PriceBook; "
        "PriceBook.default().price('gpt-4o'); print(json.dumps('litellm' in sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) is False


def test_without_litellm_the_default_book_is_empty_and_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['litellm'] = None\n"
        "from budgeted_agents.prices import PriceBook\n"
        "try: PriceBook.default().price('gpt-4o')\n"
        "except LookupError as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "install litellm" in result.stdout
