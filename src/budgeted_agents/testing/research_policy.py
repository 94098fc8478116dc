"""Replies that drive a research agent sensibly without a model: plan, search, read the best hits, answer from them.

The policy looks at nothing but the request, as a model would: are tools offered, what does the system message ask for,
what has been called and found so far. It is deterministic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from budgeted_agents.testing.conversation import Message, Reply, Request, ToolCall
from budgeted_agents.testing.replies import ReplyPolicy, best_of, key_words, sentences_of

_HEADING = re.compile(r"^(?:\d+\. )?(?P<file>[\w./-]+\.\w+):(?P<line>\d+)$", re.MULTILINE)
_ARITHMETIC = re.compile(r"\(?\d[\d.]*(?:\s*[-+*/]\s*\(?\d[\d.]*\)?)+")
_LINES_BEFORE = 10
_QUESTION = re.compile(r"^Question: (.*)$", re.MULTILINE)


def research_replies(*, reads: int = 3, sentences: int = 4) -> ReplyPolicy:
    """A policy for an agent with tools whose names contain ``search`` (argument ``query``), ``read`` (``file``,
    ``start_line``) and ``calculat`` (``expression``); any of them may be missing.

    Args:
        reads: how many of the best hits are read, one a round.
        sentences: how many sentences the final answer quotes.
    """

    def reply_to(request: Request) -> Reply:
        if request.tools:
            calls = _next_calls(request, reads)
            return Reply("", calls) if calls else Reply("I have read enough to answer.")
        if "queries" in request.system:
            return Reply("\n".join(_queries(_question(request))))
        return Reply(_answer(request, sentences))

    return reply_to


def _next_calls(request: Request, reads: int) -> list[ToolCall]:
    """All searches at once, then one document a round; calculations with the searches."""
    turn = _this_turn(request.messages)
    called = [call for message in turn for call in message.tool_calls]
    question = _question(request)
    if not called:
        searches = [("search", {"query": query}) for query in _planned(request.system) or _queries(question)]
        sums = [("calculat", {"expression": match.group()}) for match in _ARITHMETIC.finditer(question)]
        return [call for name, arguments in searches + sums for call in _call(request, name, arguments)]
    read = {str(call.arguments.get("file")) for call in called if "read" in call.name}
    unread = [hit for hit in _best_hits(turn) if hit[0] not in read]
    if len(read) >= reads or not unread:
        return []
    file, line = unread[0]
    return list(_call(request, "read", {"file": file, "start_line": max(1, line - _LINES_BEFORE)}))


def _call(request: Request, name: str, arguments: Mapping[str, str | int]) -> Iterator[ToolCall]:
    """A call of the first tool whose name contains ``name``, if there is one."""
    names = [offered for offered in request.tool_names if name in offered]
    yield from (ToolCall(offered, arguments) for offered in names[:1])


def _best_hits(turn: Sequence[Message]) -> list[tuple[str, int]]:
    """Files in search results, those found by most searches first."""
    hits = [
        (match["file"], int(match["line"]))
        for message in turn
        if message.role == "tool"
        for match in _HEADING.finditer(message.text)
    ]
    files = [file for file, _ in hits]
    first = dict(reversed(hits))
    return [(file, first[file]) for file in sorted(dict.fromkeys(files), key=lambda file: -files.count(file))]


def _queries(question: str) -> list[str]:
    """The question's key words: all of them, and each half."""
    words = key_words(question)
    half = (len(words) + 1) // 2
    queries = [" ".join(part) for part in (words, words[:half], words[half:]) if part]
    return list(dict.fromkeys(queries)) or [question]


def _planned(system: str) -> list[str]:
    return [line.removeprefix("- ") for line in system.splitlines() if line.startswith("- ")]


def _answer(request: Request, sentences: int) -> str:
    """The best sentences of the texts given, each with the file it stands in."""
    sections = _sections("\n\n".join([*request.tool_results, *request.user_texts]))
    quotes = [(sentence, file) for file, text in sections for sentence in sentences_of(text)]
    files = dict(reversed(quotes))  # the first file that says it
    best = best_of(dict(quotes), _question(request), sentences)
    return " ".join(f"{sentence} [{files[sentence]}]" for sentence in best) or "The documents do not say."


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """Each piece of text under a ``file:line`` heading."""
    headings = list(_HEADING.finditer(text))
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    for heading, end in zip(headings, ends, strict=False):  # without a heading there is an end, and nothing to yield
        yield heading["file"], text[heading.end() : end]


def _question(request: Request) -> str:
    """The question named as such, or the last user message that asks one (others tell the agent what to do)."""
    texts = request.user_texts or ("",)
    asked = [text for text in texts if "?" in text] or texts
    named = _QUESTION.search(asked[-1])
    return named.group(1) if named else asked[-1]


def _this_turn(messages: Sequence[Message]) -> Sequence[Message]:
    asked = max((index for index, message in enumerate(messages) if message.role == "user"), default=0)
    return messages[asked:]
