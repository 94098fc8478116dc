from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Pretrained

from budgeted_agents.estimate.margin import START_FOREIGN
from budgeted_agents.estimate.tokens import (
    CL100K,
    ENCODINGS,
    LONGEST_PIECE,
    O200K,
    Tokenizer,
    _pieces,
    _Vocabularies,
    count_text,
    is_counted,
    tokenizer_for,
)

Reference = Callable[[str, str], int]

texts = st.text(max_size=200) | st.text(st.sampled_from("aZ9 .\n\té中한🎉'"), max_size=200)


@pytest.fixture(scope="module")
def reference(bundled: Path) -> Reference:
    """tiktoken's own count, with its cache set to the bundled vocabularies so that it downloads nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(bundled))
        encodings = {name: tiktoken.get_encoding(name) for name in ENCODINGS}
    return lambda text, name: len(encodings[name].encode_ordinary(text))


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=texts)
def test_a_text_counts_what_tiktoken_counts(reference: Reference, encoding: str, text: str) -> None:
    assert count_text(text, encoding) == reference(text, encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_long_prose_is_cut_where_the_encoding_cuts(reference: Reference, encoding: str) -> None:
    prose = "The agent's budget was 12.50 USD (see §4); it landed at once.\n\n    Ça marche: 你好 world! " * 2_000
    assert len(prose) > 4 * LONGEST_PIECE
    assert count_text(prose, encoding) == reference(prose, encoding)


@settings(max_examples=25)
@given(unit=st.text(min_size=1, max_size=40), encoding=st.sampled_from(ENCODINGS))
def test_a_long_text_never_counts_less_and_hardly_more(reference: Reference, unit: str, encoding: str) -> None:
    text = unit * (3 * LONGEST_PIECE // len(unit))
    counted, real = count_text(text, encoding), reference(text, encoding)
    assert real <= counted <= real + 2 * len(list(_pieces(text)))


@given(text=st.text(st.sampled_from("ab 1\n中"), max_size=50), times=st.integers(1, 4_000))
def test_pieces_are_short_and_make_up_the_text(text: str, times: int) -> None:
    pieces = [piece for piece, _ in _pieces(text * times)]
    assert "".join(pieces) == text * times
    assert max(map(len, pieces)) <= LONGEST_PIECE


@pytest.mark.parametrize("character", [" ", "a", "=", "\n", "中"])
def test_a_million_of_the_same_character_can_be_counted(character: str) -> None:
    """tiktoken alone overflows its stack on a million blanks."""
    assert 1_000_000 / 128 <= count_text(character * 1_000_000) <= 1_000_100


@pytest.mark.parametrize("text", ["<|endoftext|>", "<|im_start|>system", "\ud800 alone", "\x00", ""])
def test_odd_texts_are_counted_as_text(text: str) -> None:
    assert len(text) // 4 <= count_text(text) <= 3 * len(text)


@pytest.mark.parametrize(
    ("model", "encoding", "exact"),
    [
        ("gpt-4o", O200K, True),
        ("openai/gpt-4o-mini", O200K, True),
        ("azure/gpt-4.1-nano-2025-04-14", O200K, True),
        ("openrouter/openai/gpt-5", O200K, True),
        ("gpt-5.2-chat", O200K, True),
        ("chatgpt-4o-latest", O200K, True),
        ("o3-mini", O200K, True),
        ("o1", O200K, True),
        ("ft:gpt-4o-mini-2024-07-18:acme::x1", O200K, True),
        ("bedrock/openai.gpt-oss-120b-1:0", O200K, True),
        ("gpt-4", CL100K, True),
        ("gpt-4-turbo", CL100K, True),
        ("azure/gpt-35-turbo", CL100K, True),
        ("ft:gpt-3.5-turbo-0125:acme", CL100K, True),
        ("anthropic/claude-sonnet-4-5", O200K, False),
        ("gemini/gemini-2.5-pro", O200K, False),
        ("ollama/olmo2", O200K, False),
        ("my-deployment", O200K, False),
    ],
)
def test_the_tokenizer_of_a_model(model: str, encoding: str, exact: bool) -> None:
    assert tokenizer_for(model) == Tokenizer(encoding, exact)


SAMPLES = {
    "english": "The agent reserves money before each call and settles it afterward. " * 20,
    "code": "def settle(self, id: str, actual: Mapping[str, int]) -> Settlement:\n    return self._rules[id](actual)\n"
    * 20,
    "json": '{"id": 17, "name": "user-17", "tags": ["a", "b"], "balance": 23.29}\n' * 20,
    "german": "Der Agent arbeitet innerhalb eines Budgets: Überschüsse werden danach zurückgegeben. " * 20,
    "russian": "Агент работает в рамках бюджета: деньги резервируются перед вызовом. " * 20,
    "arabic": "يعمل الوكيل ضمن الميزانية، حيث يتم حجز الأموال قبل كل مكالمة. " * 20,
    "hindi": "एजेंट बजट के भीतर चलता है, हर कॉल से पहले पैसा आरक्षित होता है। " * 20,
    "korean": "에이전트는 예산 내에서 실행되며 각 호출 전에 자금을 예약합니다. " * 20,
    "japanese": "エージェントは予算内で動作し、呼び出しの前に資金を確保します。" * 20,
    "chinese": "智能代理在预算内运行。每次调用之前先预留资金。之后结算。" * 20,
    "emoji": "👩‍👩‍👧🎉🚀✨🔥" * 50,
}


@pytest.mark.parametrize("script", SAMPLES)
def test_a_foreign_count_and_its_first_margin_cover_claudes_published_tokenizer(bundled: Path, script: str) -> None:
    claude = Pretrained.from_file(str(bundled / "anthropic_tokenizer.json"))
    real = len(claude.encode(SAMPLES[script]).ids)
    counted = tokenizer_for("claude-sonnet-4-5").count(SAMPLES[script])
    assert counted * 0.5 < real <= counted * (100 + START_FOREIGN.percent) / 100


@given(text=texts)
def test_a_foreign_count_is_between_o200k_and_bytes(text: str) -> None:
    assert count_text(text) <= Tokenizer(O200K, exact=False).count(text) <= len(text.encode("utf-8", "surrogatepass"))


def test_threads_share_one_vocabulary() -> None:
    vocabularies, start = _Vocabularies(), Barrier(8)

    def load(_: int) -> int:
        start.wait()
        return id(vocabularies.get(CL100K))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(load, range(8)))) == 1
    assert is_counted(CL100K)
