"""inspect_ai logs: ``.eval`` archives and ``.json`` files. A session is one sample of a task in one epoch of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.traces.call import CLIENT_CACHE_HIT, LOCAL_MODEL, NO_USAGE, NO_USAGE_RECORDED, TracedCall
from budgeted_agents.traces.documents import Record, outline, read_each, record, unnumbered
from budgeted_agents.traces.fields import cost, mapping, mappings, text, total
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.sources import Source
from budgeted_agents.traces.values import fingerprint, seconds
from budgeted_agents.usage import Usage

_START, _HEADER, _SAMPLES = "_journal/start.json", "header.json", "samples/"
_ZIP = b"PK\x03\x04"
_LOCAL = frozenset({"hf", "llama-cpp-python", "mockllm", "nnterp", "ollama", "sglang", "transformer_lens", "vllm"})
"""Providers that run a model on the user's own machine."""

_CORRECT, _INCORRECT = ("C", 1, True), ("I", "N", 0, False)
_DEEPEST = 100


class InspectAi:
    """Reads both; an archive a sample at a time."""

    name = "inspect_ai"
    about = "inspect_ai logs (.eval, .json)"

    def detect(self, source: Source) -> bool:
        if source.head.startswith(_ZIP):
            return _START.encode() in source.head or _HEADER.encode() in source.head
        return {"version", "eval.task", "eval.model"} <= outline(source.head)

    def read(self, source: Source) -> Iterator[TracedCall]:
        sums = _Sums()
        for call in _archive(source, sums) if source.head.startswith(_ZIP) else _log(source, sums):
            sums.add(call)
            yield call
        sums.compare(source.problems)


FORMAT = InspectAi()


class _Sums:
    """Tokens by model, as the events of the samples have them, and as the header states them."""

    def __init__(self) -> None:
        self._counted: defaultdict[str, int] = defaultdict(int)
        self.stated: Record = {}

    def add(self, call: TracedCall) -> None:
        if call.kind == "model" and CLIENT_CACHE_HIT not in call.flags:
            self._counted[call.model_asked] += call.usage.total_tokens

    def compare(self, problems: Problems) -> None:
        for model, usage in self.stated.items():
            stated, counted = mapping(usage).get("total_tokens"), self._counted[model]
            if isinstance(stated, int) and stated != counted:
                problems.warn(f"the header states {stated:,} tokens of {model}, its samples have {counted:,}")


def _archive(source: Source, sums: _Sums) -> Iterator[TracedCall]:
    spec: Record = {}
    for member in source.members(".json"):
        name = member.path.rpartition("!")[2]
        if name not in (_START, _HEADER) and not name.startswith(_SAMPLES):
            continue
        try:
            content = record(member)
        except InvalidTrace as error:
            source.problems.skip(f"{name}: {error}")
            continue
        if name == _HEADER:
            sums.stated = mapping(mapping(content.get("stats")).get("model_usage"))
        spec = mapping(content.get("eval")) or spec
        if name.startswith(_SAMPLES):
            yield from _sample(content, spec, source.problems)


def _log(source: Source, sums: _Sums) -> Iterator[TracedCall]:
    log = record(source)
    sums.stated = mapping(mapping(log.get("stats")).get("model_usage"))
    for sample in mappings(log.get("samples")):
        yield from _sample(sample, mapping(log.get("eval")), source.problems)


def _sample(sample: Record, spec: Record, problems: Problems) -> Iterator[TracedCall]:
    name = f"{text(spec.get('task'), 'task')}/{text(sample.get('id'))}/{text(sample.get('epoch'), 1)}"
    run = text(spec.get("run_id"), spec.get("eval_id"))
    session = f"{name}@{run}" if run else name
    calls = list(
        read_each(
            unnumbered(enumerate(_events(sample.get("events")))),
            lambda _, item: _call(*item, session, problems),
            problems,
        )
    )
    yield from calls
    made = sum(call.kind == "model" for call in calls)
    yield from read_each(unnumbered([sample]), lambda _, sample: _statement(sample, session, made, problems), problems)


def _events(events: Any, level: int = 0) -> Iterator[Record]:
    """Calls of models and tools; in old logs those inside of a tool or subtask are nested in its event."""
    for event in mappings(events):
        if event.get("event") in ("model", "tool") and not event.get("pending"):
            yield event
        if "events" in event and level < _DEEPEST:
            yield from _events(event["events"], level + 1)


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
    call.provider = call.model_asked.partition("/")[0] if "/" in call.model_asked else ""
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


def _statement(sample: Record, session: str, calls: int, problems: Problems) -> Iterator[TracedCall]:
    by_model = {model: mapping(usage) for model, usage in mapping(sample.get("model_usage")).items()}
    usages = [Usage.from_inspect(usage, place=f"model_usage of {session}") for usage in by_model.values()]
    error = sample.get("error")
    yield TracedCall(
        id=f"{session}:statement",
        session=session,
        kind="statement",
        model=next(iter(by_model)) if len(by_model) == 1 else "",
        usage=sum(usages, NO_USAGE),
        recorded_cost=total(*(cost(usage.get("total_cost"), problems) for usage in by_model.values())),
        started_at=seconds(sample.get("started_at")),
        ended_at=seconds(sample.get("completed_at")),
        flags=() if by_model else (NO_USAGE_RECORDED,),
        error="error" if error else "",
        calls=calls,
        turns=1,
        succeeded=False if error else _succeeded(mapping(sample.get("scores"))),
    )


def _succeeded(scores: Record) -> bool | None:
    """Whether every scorer that gave a plain verdict found the answer correct; None if none did."""
    values = [mapping(score).get("value") for score in scores.values()]
    verdicts = [value in _CORRECT for value in values if value in _CORRECT or value in _INCORRECT]
    return all(verdicts) if verdicts else None
