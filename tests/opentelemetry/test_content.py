"""What calls say is written down where somebody asked for it, in the conventions' form, and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import tool
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from budgeted_agents import (
    Budget,
    BudgetExceeded,
    BudgetMiddleware,
    CostCallback,
    OpenTelemetryRecorder,
    budgeted_model,
    open_ledger,
    replay,
)
from budgeted_agents.errors import InvalidJournal, InvalidRecorder
from budgeted_agents.integrations.opentelemetry.recorder import VARIABLE
from budgeted_agents.reports.verification import verify
from budgeted_agents.testing import LocalProvider, Reply
from budgeted_agents.traces.records.journal import LONGEST_LINE, Journal, read_journal
from budgeted_agents.traces.records.rebuild import folded, rebuild
from tests.attach.support import openai, serving
from tests.opentelemetry.conversations import (
    ANSWER,
    INPUT,
    MARKS,
    MEANING,
    QUESTION,
    RULES,
    THREAD,
    WORD,
    agent,
    content_in,
    content_of,
    look_up,
    looks_up_once,
    marks_in,
    marks_in_files,
    marks_in_metrics,
    marks_in_spans,
)
from tests.opentelemetry.support import SetUp
from tests.traces.support import a_call

SYSTEM = [{"type": "text", "content": f"Keep to {RULES}."}]
ASKED = {"role": "user", "parts": [{"type": "text", "content": f"What is {QUESTION}?"}]}
CALLED = {
    "role": "assistant",
    "parts": [{"type": "tool_call", "id": "call_1", "name": "look_up", "arguments": {"word": WORD}}],
}
RETURNED: dict[str, Any] = {
    "role": "tool",
    "parts": [{"type": "tool_call_response", "id": "call_1", "response": f"It means {MEANING}."}],
    "name": "look_up",
}
ANSWERED = {
    "role": "assistant",
    "parts": [{"type": "text", "content": f"The {ANSWER} is yes."}],
    "finish_reason": "stop",
}
CHATS = [
    {
        "system_instructions": SYSTEM,
        "input.messages": [ASKED],
        "output.messages": [{**CALLED, "finish_reason": "tool_call"}],
    },
    {
        "system_instructions": SYSTEM,
        "input.messages": [ASKED, CALLED, RETURNED],
        "output.messages": [ANSWERED],
    },
]
TOOLS = [{"tool.call.arguments": {"word": WORD}, "tool.call.result": f"It means {MEANING}."}]

GOVERNED = pytest.mark.parametrize("governed", [True, False], ids=["budgeted_model", "any model"])


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving(looks_up_once) as provider:
        yield provider


def invoke(app: Any) -> None:
    app.invoke(INPUT, THREAD)


def stream(app: Any) -> None:
    for _ in app.stream(INPUT, THREAD, stream_mode="messages"):
        pass


@GOVERNED
@pytest.mark.parametrize("run", [invoke, stream])
def test_it_is_written_down_where_it_is_asked_for(
    provider: LocalProvider, set_up: SetUp, tmp_path: Path, governed: bool, run: Callable[[Any], None]
) -> None:
    journal = Journal(tmp_path / "calls", content=True)
    run(agent(provider, governed=governed, journal=journal, recorders=(set_up.recorder(content=True),)))
    assert content_of(set_up) == content_in(journal.path) == CHATS
    assert content_of(set_up, "execute_tool") == content_in(journal.path, "execute_tool") == TOOLS


@GOVERNED
@pytest.mark.parametrize("run", [invoke, stream])
def test_nothing_of_it_is_anywhere_by_default(
    provider: LocalProvider,
    set_up: SetUp,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    governed: bool,
    run: Callable[[Any], None],
) -> None:
    caplog.set_level(logging.DEBUG, "budgeted_agents")
    budget = Budget(usd="1.00", model_calls=3, tool_calls=5)
    app = agent(
        provider,
        governed=governed,
        budget=budget,
        ledger=f"sqlite:///{tmp_path}/spend.db",
        recorders=(set_up.recorder(),),
    )
    for _ in range(2):  # the second is refused a call, and lands
        run(app)
    report = app.spend(THREAD)
    assert len(provider.requests) >= 2
    assert report.refusals
    assert (tmp_path / "spend.db.journal").is_dir()
    assert marks_in_files(tmp_path) == marks_in_spans(set_up) == marks_in_metrics(set_up) == set()
    assert marks_in(repr(report) + str(report.to_json()) + caplog.text) == set()


def test_the_ledger_and_the_log_have_none_of_it_either_way(
    provider: LocalProvider, set_up: SetUp, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("openai").setLevel(logging.WARNING)  # it logs what it sends
    (tmp_path / "ledger").mkdir()
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger/spend.db")
    journal = Journal(tmp_path / "calls", content=True)
    app = agent(provider, ledger=ledger, journal=journal, recorders=(set_up.recorder(content=True),))
    app.invoke(INPUT, THREAD)
    report = app.spend(THREAD)
    assert marks_in_files(journal.path) == marks_in_spans(set_up) == MARKS
    assert marks_in_files(tmp_path / "ledger") == marks_in_metrics(set_up) == set()
    assert marks_in(repr(report) + str(report.to_json()) + repr(ledger.entries()) + caplog.text) == set()


def test_who_did_not_ask_for_it_does_not_get_it(provider: LocalProvider, set_up: SetUp, tmp_path: Path) -> None:
    agent(provider, journal=tmp_path / "calls", recorders=(set_up.recorder(content=True),)).invoke(INPUT, THREAD)
    assert marks_in_spans(set_up) == MARKS
    assert marks_in_files(tmp_path) == set()
    other = SetUp()
    journal = Journal(tmp_path / "more", content=True)
    agent(provider, journal=journal, recorders=(other.recorder(),)).invoke(INPUT, THREAD)
    assert marks_in_spans(other) == set()
    assert marks_in_files(tmp_path) == MARKS


@GOVERNED
async def test_so_it_is_where_everything_is_awaited(provider: LocalProvider, set_up: SetUp, governed: bool) -> None:
    raw = openai(provider)
    app: Any = create_agent(budgeted_model(raw) if governed else raw, [look_up], system_prompt=f"Keep to {RULES}.")
    callback = CostCallback(budget=Budget(usd="1.00"), recorders=[set_up.recorder(content=True)])
    await app.ainvoke(INPUT, {**THREAD, "callbacks": [callback]})
    async for _ in app.astream(INPUT, {**THREAD, "callbacks": [callback]}, stream_mode="messages"):
        pass
    assert content_of(set_up) == CHATS * 2
    assert content_of(set_up, "execute_tool") == TOOLS * 2


def test_an_agent_with_the_middleware_that_lands(provider: LocalProvider, set_up: SetUp) -> None:
    middleware: Any = BudgetMiddleware(budget=Budget(model_calls=2), recorders=(set_up.recorder(content=True),))
    app: Any = create_agent(openai(provider), [look_up], middleware=[middleware], system_prompt=f"Keep to {RULES}.")
    app.invoke(INPUT, THREAD)
    first, landing = content_of(set_up)
    assert first == CHATS[0]
    assert landing["output.messages"] == [ANSWERED]
    assert content_of(set_up, "execute_tool") == TOOLS


def test_a_graph_that_lands(provider: LocalProvider, set_up: SetUp) -> None:
    app = agent(provider, budget=Budget(model_calls=2), recorders=(set_up.recorder(content=True),))
    app.invoke(INPUT, THREAD)
    first, landing = content_of(set_up)
    assert first == CHATS[0]
    assert {mark for mark in MARKS if mark in str(landing["input.messages"])} >= {QUESTION, MEANING}
    assert landing["output.messages"] == [ANSWERED]


@tool
def breaks(word: str) -> str:
    """Break."""
    raise RuntimeError(f"{MEANING} is too much to tell")


def test_a_tool_that_fails_has_no_result(set_up: SetUp) -> None:
    callback = CostCallback(budget=Budget(tool_calls=5), recorders=[set_up.recorder(content=True)])
    with pytest.raises(RuntimeError):
        breaks.invoke({"word": WORD}, {"callbacks": [callback]})
    assert content_of(set_up, "execute_tool") == [{"tool.call.arguments": {"word": WORD}}]
    assert marks_in_spans(set_up) == {WORD}


@GOVERNED
def test_each_attempt_has_its_own(set_up: SetUp, governed: bool) -> None:
    with serving([Reply("slow down", status=429), Reply(f"The {ANSWER} is yes.")]) as provider:
        raw = openai(provider, max_retries=1 if governed else 0)
        model = budgeted_model(raw) if governed else raw.with_retry(stop_after_attempt=2, wait_exponential_jitter=False)
        callback = CostCallback(budget=Budget(usd="1.00"), recorders=[set_up.recorder(content=True)])
        model.invoke(INPUT["messages"], {"callbacks": [callback]})
    asked = {"input.messages": [ASKED]}
    assert content_of(set_up) == [asked, {**asked, "output.messages": [ANSWERED]}]


@GOVERNED
def test_what_had_come_of_a_stream_that_broke_off(set_up: SetUp, governed: bool) -> None:
    with serving([Reply(f"The {ANSWER} is yes, and more was to come.", cut_after=4)]) as provider:
        model = budgeted_model(openai(provider)) if governed else openai(provider)
        callback = CostCallback(budget=Budget(usd="1.00"), recorders=[set_up.recorder(content=True)])
        with pytest.raises(Exception, match=r"(?i)incomplete|peer closed|connection"):
            list(model.stream(INPUT["messages"], {"callbacks": [callback]}))
    (found,) = content_of(set_up)
    (answer,) = found["output.messages"]
    assert answer["finish_reason"] == "error"
    assert answer["parts"][0]["content"].startswith(f"The {ANSWER}")
    assert "come" not in answer["parts"][0]["content"]


def test_a_stream_that_is_left_early(provider: LocalProvider, set_up: SetUp) -> None:
    callback = CostCallback(budget=Budget(usd="1.00"), recorders=[set_up.recorder(content=True)])
    answer = budgeted_model(openai(provider)).stream(INPUT["messages"], {"callbacks": [callback]})
    assert next(answer).text == ""
    assert next(answer).text == "The"
    answer.close()  # type: ignore[attr-defined]
    (found,) = content_of(set_up)
    assert found["output.messages"][0]["finish_reason"] == "error"
    assert found["output.messages"][0]["parts"] == [{"type": "text", "content": "The"}]


def test_a_refused_call_says_nothing(provider: LocalProvider, set_up: SetUp, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "calls", content=True)
    recorders = [set_up.recorder(content=True)]
    callback = CostCallback(budget=Budget(usd="0.000001"), journal=journal, recorders=recorders)
    with pytest.raises(BudgetExceeded):
        openai(provider).invoke(INPUT["messages"], {"callbacks": [callback]})
    assert set_up.spans("budget refusal")
    assert marks_in_spans(set_up) == marks_in_files(tmp_path) == set()


def test_two_that_see_a_call_keep_it_once_each_as_asked(provider: LocalProvider, set_up: SetUp, tmp_path: Path) -> None:
    ledger = open_ledger("memory://seen-by-two-with-content")
    journal = Journal(tmp_path / "calls", content=True)
    callback = CostCallback(budget=Budget(name="own", usd="1"), ledger=ledger, journal=journal)
    app = agent(provider, governed=False, ledger=ledger, recorders=(set_up.recorder(),))
    app.invoke(INPUT, {**THREAD, "callbacks": [callback]})
    assert content_in(journal.path) == CHATS
    assert len(set_up.spans("chat")) == 2
    assert marks_in_spans(set_up) == set()
    ledger.close()


def test_a_journal_with_content_rebuilds_and_replays_as_one_without(provider: LocalProvider, tmp_path: Path) -> None:
    bare, full = Journal(tmp_path / "bare"), Journal(tmp_path / "full", content=True)
    app = agent(provider, ledger=f"sqlite:///{tmp_path}/spend.db", journal=bare, recorders=(full,))
    app.invoke(INPUT, THREAD)
    assert marks_in_files(full.path) == MARKS
    lines = [[line.recorded for line in read_journal(journal.path, [])] for journal in (bare, full)]
    assert lines[0] == lines[1]
    restored = open_ledger(f"sqlite:///{tmp_path}/restored.db")
    assert rebuild(restored, read_journal(full.path, []), []) == 3
    for ledger in (open_ledger(f"sqlite:///{tmp_path}/spend.db"), restored):
        assert verify(ledger, folded(read_journal(full.path, []), [])).agrees
        ledger.close()
    audits = [replay(journal.path / "journal-000001.jsonl").to_json() for journal in (bare, full)]
    assert marks_in(str(audits)) == set()
    for audit in audits:
        audit.pop("files", None)
    assert str(audits[0]).replace("/bare/", "/full/") == str(audits[1])


@pytest.mark.parametrize(
    ("variable", "content", "keeps"),
    [
        ("", None, False),
        ("NO_CONTENT", None, False),
        ("EVENT_ONLY", None, False),
        ("true", None, False),
        ("SPAN_ONLY", None, True),
        ("span_and_event", None, True),
        ("SPAN_ONLY", False, False),
        ("NO_CONTENT", True, True),
    ],
)
def test_the_environment_speaks_where_the_code_does_not(
    monkeypatch: pytest.MonkeyPatch, set_up: SetUp, variable: str, content: bool | None, keeps: bool
) -> None:
    monkeypatch.setenv(VARIABLE, variable)
    assert set_up.recorder(content=content).keeps_content is keeps


def test_a_switch_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecorder, match="content='no'"):
        OpenTelemetryRecorder(TracerProvider(), content="no")  # type: ignore[arg-type]
    with pytest.raises(InvalidJournal, match="content='no'"):
        Journal(tmp_path, content="no")  # type: ignore[arg-type]


class Unread:
    """Content that nobody may ask for."""

    def answered(self, answer: Any, *, whole: bool = True) -> None:
        raise AssertionError("there is no answer")

    @property
    def attributes(self) -> dict[str, Any]:
        raise AssertionError("nobody keeps this span")


def test_for_a_span_that_is_not_sampled_none_is_put_together() -> None:
    OpenTelemetryRecorder(TracerProvider(sampler=ALWAYS_OFF), content=True).call(a_call(), Unread())


def test_long_histories_keep_their_end_and_fit_in_a_line(
    provider: LocalProvider, set_up: SetUp, tmp_path: Path
) -> None:
    """Texts of characters that are escaped twice, so that lines are as long as they get."""
    journal = Journal(tmp_path / "calls", content=True)
    callback = CostCallback(budget=Budget(usd="9"), journal=journal, recorders=[set_up.recorder(content=True)])
    history = [SystemMessage('"' * 200_000), *(HumanMessage(str(n) + '"' * 20_000) for n in range(9))]
    openai(provider).invoke(history, {"callbacks": [callback]})
    (found,) = content_in(journal.path)
    assert content_of(set_up) == [found]
    assert found["budget.content.cut"] == ["gen_ai.system_instructions", "gen_ai.input.messages"]
    assert [message["parts"][0]["content"][0] for message in found["input.messages"]] == ["7", "8"]
    assert found["system_instructions"][0]["content"].endswith('"…')
    (file,) = journal.files()
    assert file.stat().st_size < LONGEST_LINE
    assert len(list(read_journal(journal.path, []))) == 1
