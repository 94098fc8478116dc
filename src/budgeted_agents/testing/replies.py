"""Reply policies: what the local provider answers. A policy is any callable from a request to a reply."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable

from budgeted_agents.errors import InvalidInput
from budgeted_agents.testing.conversation import Reply, Request

ReplyPolicy = Callable[[Request], Reply]

_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n|\n(?=\s*(?:[-*]|\d+\.))")  # lines may be wrapped, lists are not
_NOT_PROSE = re.compile(r"^(?:#|[ \t]*\|).*$", re.MULTILINE)
_COMMON_WORDS = frozenset(
    _WORD.findall(
        "a about all an and any are as at be been between by can could do does each for from had has have how i if in "
        "into is it its many may me more most much must no not of on one only or other our out over shall should so "
        "some such than that the their them then there these they this those to under up us was we were what when "
        "where which who whom whose why will with would you your"
    )
)


def fixed(text: str, *, output_tokens: int | None = None, input_tokens: int | None = None) -> ReplyPolicy:
    """The same text for every request."""
    reply = Reply(text, output_tokens=output_tokens, input_tokens=input_tokens)
    return lambda request: reply


def scripted(replies: Iterable[Reply]) -> ReplyPolicy:
    """One reply after the other, in the order in which requests arrive.

    Raises:
        InvalidInput: (at the request) once the script is used up.
    """
    script, lock = tuple(replies), threading.Lock()
    rest = iter(script)

    def next_reply(request: Request) -> Reply:
        with lock:
            reply = next(rest, None)
        if reply is None:
            raise InvalidInput(
                "the script has no more replies",
                field="reply",
                value=len(script),
                place=f"request {request.number} to the local provider",
                remedy="Add replies to the script, or make fewer requests",
            )
        return reply

    return next_reply


def fill(output_tokens: int = 16_000, *, input_tokens: int | None = None) -> ReplyPolicy:
    """As many output tokens as the request's limit allows, at most ``output_tokens``: the dearest a model can do."""

    def filled(request: Request) -> Reply:
        limit = request.max_output_tokens
        tokens = output_tokens if limit is None else min(limit, output_tokens)
        return Reply(" tok" * tokens, input_tokens=input_tokens, output_tokens=output_tokens)

    return filled


def extractive(sentences: int = 3) -> ReplyPolicy:
    """An answer made of the sentences, in the request's tool results or other texts, that share most words with the
    question (the first user message). Deterministic, no model."""

    def extracted(request: Request) -> Reply:
        question = request.user_texts[0] if request.user_texts else ""
        sources = request.tool_results or request.user_texts[1:] or (request.system,)
        best = best_of(sentences_of("\n\n".join(sources)), question, sentences)
        return Reply(" ".join(best) or "The documents do not say.")

    return extracted


def key_words(text: str) -> list[str]:
    """The words of a text that carry its meaning, in lower case, in order, each once."""
    words = (word.lower() for word in _WORD.findall(text))
    return list(dict.fromkeys(word for word in words if len(word) > 1 and word not in _COMMON_WORDS))


def sentences_of(text: str) -> list[str]:
    """The sentences and list items of a text, each on one line and once; headings and tables are left out."""
    plain = _NOT_PROSE.sub("\n", text)
    return list(dict.fromkeys(" ".join(sentence.split()) for sentence in _SENTENCE_END.split(plain)))


def best_of(sentences: Iterable[str], question: str, count: int) -> list[str]:
    """The sentences that share most key words with the question, best first; none without a shared word."""
    wanted = set(key_words(question))
    shared = {sentence: len(wanted & set(key_words(sentence))) for sentence in sentences}
    return sorted((sentence for sentence in shared if shared[sentence]), key=lambda sentence: -shared[sentence])[:count]
