"""inspect_ai logs: ``.eval`` archives and ``.json`` files. A session is one sample of a task in one epoch of a run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.traces.call import CLIENT_CACHE_HIT, LOCAL_MODEL, NO_USAGE_RECORDED, TracedCall
from budgeted_agents.traces.documents import Record, read_each, record, unnumbered
from budgeted_agents.traces.fields import cost, mapping, mappings, text
from budgeted_agents.traces.files.unpacking import ZIP
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.sources import Source
from budgeted_agents.traces.values import fingerprint, seconds
from budgeted_agents.usage import Usage

_START, _HEADER, _SAMPLES = "_journal/start.json", "header.json", "samples/"
_LOCAL = frozenset({"hf", "llama-cpp-python", "mockllm", "nnterp", "ollama", "sglang", "transformer_lens", "vllm"})
"""Providers that run a model on the user's own machine."""

_CORRECT, _INCORRECT = ("C", 1, True), ("I", "N", 0, False)
_DEEPEST = 100


class InspectAi:
    """Reads both; an archive a sample at a time."""

    name = "inspect_ai"
    about = "inspect_ai logs (.eval, .json)"

    def detect(self, source: Source) -> bool:
        if source.head.startswith(ZIP):
            return _START.encode() in source.head or _HEADER.encode() in source.head
        return {"version", "eval.task", "eval.model"} <= source.outline

    def read(self, source: Source) -> Iterator[TracedCall]:
        log = _Log(source)
        yield from log.calls()
        yield from read_each(unnumbered(log.unexplained()), lambda _, model: log.statement(model), source.problems)


FORMAT = InspectAi()


class _Log:
    """One log: its samples, and the totals by model that its header states."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._spec: Record = {}
        self._stated: Record = {}
        self._counted: defaultdict[str, int] = defaultdict(int)

    def calls(self) -> Iterator[TracedCall]:
        """What its samples tell."""
        is_archive = self._source.head.startswith(ZIP)
        for sample in self._archived() if is_archive else self._written(record(self._source)):
            name = f"{text(self._spec.get('task'), 'task')}/{text(sample.get('id'))}/{text(sample.get('epoch'), 1)}"
            session = f"{name}@{self._run}"
            calls = list(_calls(sample, session, self._source.problems))
            statements = list(_statements(sample, session, calls, self._source.problems))
            self._count(calls if any(call.kind == "model" for call in calls) else statements)
            yield from (*calls, *statements)

    def unexplained(self) -> Iterator[str]:
        """Models of which the header has tokens, and no sample has any. Other differences are problems."""
        for model, usage in self._stated.items():
            stated, counted = mapping(usage).get("total_tokens"), self._counted[model]
            if not counted:
                yield model
            elif isinstance(stated, int) and stated != counted:
                problem = f"the header states {stated:,} tokens of {model}, its samples have {counted:,}"
                self._source.problems.warn(problem)

    def statement(self, model: str) -> Iterator[TracedCall]:
        """What the header says of a model."""
        session = f"{text(self._spec.get('task'), 'task')}@{self._run}"
        yield _stated(session, model, mapping(self._stated[model]), self._source.problems)

    @property
    def _run(self) -> str:
        return text(self._spec.get("run_id"), self._spec.get("eval_id"))

    def _count(self, calls: list[TracedCall]) -> None:
        for call in calls:
            if CLIENT_CACHE_HIT not in call.flags:
                self._counted[call.model_asked] += call.usage.total_tokens

    def _written(self, log: Record) -> Iterator[Record]:
        self._learn(log)
        yield from mappings(log.get("samples"))

    def _archived(self) -> Iterator[Record]:
        for member in self._source.members(".json"):
            name = member.path.rpartition("!")[2]
            is_sample = name.startswith(_SAMPLES)
            if not is_sample and name not in (_START, _HEADER):
                continue
            try:
                content = record(member)
            except InvalidTrace as error:
                self._source.problems.skip(f"{name}: {error}")
                continue
            if is_sample:
                yield content
            else:
                self._learn(content)

    def _learn(self, header: Record) -> None:
        self._spec = mapping(header.get("eval")) or self._spec
        self._stated = mapping(mapping(header.get("stats")).get("model_usage"))


def _events(events: Any, level: int = 0) -> Iterator[Record]:
    """Calls of models and tools; in old logs those inside of a tool or subtask are nested in its event."""
    for event in mappings(events):
        if event.get("event") in ("model", "tool") and not event.get("pending"):
            yield event
        if "events" in event and level < _DEEPEST:
            yield from _events(event["events"], level + 1)


def _calls(sample: Record, session: str, problems: Problems) -> Iterator[TracedCall]:
    events = unnumbered(enumerate(_events(sample.get("events"))))
    return read_each(events, lambda _, item: _call(*item, session, problems), problems)


def _call(index: int, event: Record, session: str, problems: Problems) -> Iterator[TracedCall]:
    call = TracedCall(
        id=text(event.get("uuid"), f"{session}:{index}"),
        session=session,
        started_at=seconds(event.get("timestamp")),
        ended_at=seconds(event.get("completed")),
    )
    if event["event"] == "tool":
        call.kind = "tool"
        call.tool = text(event.get("function"))
        call.fingerprint = fingerprint(event.get("arguments"))
        call.error = text(mapping(event.get("error")).get("type"))
    else:
        _be_model_call(call, event, problems)
    yield call


def _be_model_call(call: TracedCall, event: Record, problems: Problems) -> None:
    output = mapping(event.get("output"))
    usage = mapping(output.get("usage"))
    call.model_asked = text(event.get("model"))
    call.provider = _provider(call.model_asked)
    call.model = text(output.get("model"), call.model_asked)
    call.usage = Usage.from_inspect(usage, place=f"model event {call.id}")
    call.recorded_cost = cost(usage.get("total_cost"), problems)
    call.node = text(event.get("role"))
    call.error = "error" if event.get("error") else ""
    if not call.ended_at:
        call.ended_at = call.started_at + seconds(output.get("time"))
    flags = {
        NO_USAGE_RECORDED: not call.usage.total_tokens,
        CLIENT_CACHE_HIT: event.get("cache") == "read",
        LOCAL_MODEL: call.provider in _LOCAL,
    }
    call.flags = tuple(flag for flag, holds in flags.items() if holds)


def _statements(sample: Record, session: str, calls: list[TracedCall], problems: Problems) -> Iterator[TracedCall]:
    """What a sample says of each of its models, and, with the first of them, how it ended."""
    made = Counter(call.model_asked for call in calls if call.kind == "model")
    stated = unnumbered(mapping(sample.get("model_usage")).items())
    statements = list(read_each(stated, lambda _, item: [_stated(session, *item, problems, made[item[0]])], problems))
    if not statements:
        statements = [TracedCall(id=f"{session}:statement", session=session, kind="statement", calls=made.total())]
        statements[0].flags = (NO_USAGE_RECORDED,)
    first, error = statements[0], sample.get("error")
    first.started_at, first.ended_at = seconds(sample.get("started_at")), seconds(sample.get("completed_at"))
    first.error = "error" if error else ""
    first.turns = 1
    first.succeeded = False if error else _succeeded(mapping(sample.get("scores")))
    yield from statements


def _stated(session: str, model: str, usage: Any, problems: Problems, calls: int = 0) -> TracedCall:
    return TracedCall(
        id=f"{session}:{model}:statement",
        session=session,
        kind="statement",
        model=model,
        model_asked=model,
        provider=_provider(model),
        usage=Usage.from_inspect(usage, place=f"model_usage of {session}"),
        recorded_cost=cost(mapping(usage).get("total_cost"), problems),
        calls=max(calls, 1),
    )


def _provider(model: str) -> str:
    return model.partition("/")[0] if "/" in model else ""


def _succeeded(scores: Record) -> bool | None:
    """Whether every scorer that gave a plain verdict found the answer correct; None if none did."""
    values = [mapping(score).get("value") for score in scores.values()]
    verdicts = [value in _CORRECT for value in values if value in _CORRECT or value in _INCORRECT]
    return all(verdicts) if verdicts else None
