"""OpenHands: the state of a conversation, and in older versions trajectories and results of evaluations.

Its metrics hold every call's cost in one list and its tokens in another, in the same order. Where only sums were kept,
there is a statement about the conversation and no call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

from budgeted_agents.traces.call import NO_USAGE_RECORDED, TracedCall
from budgeted_agents.traces.documents import Record, document, read_each, records, unnumbered
from budgeted_agents.traces.fields import cost, mapping, mappings, run_name, text
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.sources import Source
from budgeted_agents.traces.values import seconds
from budgeted_agents.usage import Usage

_STATE = "base_state.json"
_ENDINGS = {"finished": True, "error": False, "stuck": False}


class OpenHands:
    """Reads the three. A session is a conversation, or the run of one instance."""

    name = "openhands"
    about = "OpenHands: base_state.json of a conversation; trajectories and output.jsonl of older versions"

    def detect(self, source: Source) -> bool:
        paths = source.outline
        return (
            "stats.usage_to_metrics" in paths
            or (source.path.endswith(_STATE) and {"id", "agent"} <= paths)
            or {"instance_id", "metrics.accumulated_cost"} <= paths
            or {"instance_id", "test_result", "metadata"} <= paths
            or ({"timestamp", "source", "action", "args"} <= paths and "type" not in paths)
            or _is_event(source.path, paths)
        )

    def read(self, source: Source) -> Iterator[TracedCall]:
        problems = source.problems
        if _is_event(source.path, source.outline):
            return
        if source.head.lstrip().startswith(b"["):
            yield from _trajectory(source, problems)
            return
        for line, record in records(source):
            if "stats" in record:
                yield from _conversation(record, problems)
            else:
                yield from _instance(record, problems, line)


FORMAT = OpenHands()


def _is_event(path: str, paths: frozenset[str]) -> bool:
    """An event of a conversation: it stands beside the state, and says nothing of cost."""
    return {"id", "timestamp", "source", "kind"} <= paths and PurePath(path).parent.name == "events"


def _conversation(state: Record, problems: Problems) -> Iterator[TracedCall]:
    session = text(state.get("id")) or run_name("conversation", state.get("stats"))
    by_usage = mapping(mapping(state.get("stats")).get("usage_to_metrics"))
    ending = _ENDINGS.get(text(state.get("execution_status"), state.get("agent_status")).lower())
    for node, metrics in by_usage.items():
        yield from _metrics(session, node, mapping(metrics), problems, succeeded=ending)


def _instance(result: Record, problems: Problems, line: int) -> Iterator[TracedCall]:
    """The result of an evaluation: a line for each instance."""
    metrics = mapping(result.get("metrics"))
    session = run_name(text(result.get("instance_id")), metrics)
    report = mapping(mapping(result.get("test_result")).get("report")) or mapping(result.get("report"))
    resolved = report.get("resolved")
    succeeded = resolved if isinstance(resolved, bool) else None
    error = "error" if result.get("error") else ""
    yield from _metrics(session, "agent", metrics, problems, succeeded=succeeded, turns=1, error=error, line=line)


def _trajectory(source: Source, problems: Problems) -> Iterator[TracedCall]:
    """A list of events, each with the metrics up to then: the last ones are those of the whole."""
    events = mappings(document(source))
    if not events:
        return
    kept = [metrics for event in events if (metrics := mapping(event.get("llm_metrics")))]
    session = run_name(PurePath(source.path).stem, [event.get("timestamp") for event in events])
    turns = sum(event.get("source") == "user" and event.get("action") == "message" for event in events)
    state = next((s for event in reversed(events) if (s := mapping(event.get("extras")).get("agent_state"))), None)
    metrics = kept[-1] if kept else {}
    yield from _metrics(session, "agent", metrics, problems, succeeded=_ENDINGS.get(text(state)), turns=turns)


def _metrics(
    session: str, node: str, metrics: Record, problems: Problems, *, line: int = 0, **outcome: Any
) -> Iterator[TracedCall]:
    """The calls of one model in one role, and what is stated of them in sum."""
    pairs = _pairs(metrics, problems, line)
    calls = list(
        read_each(
            ((line, item) for item in enumerate(pairs)),
            lambda _, item: _call(session, node, text(metrics.get("model_name")), item, problems),
            problems,
        )
    )
    yield from calls
    yield from read_each(
        unnumbered([metrics]),
        lambda _, m: _statement(session, node, m, len(calls), problems, **outcome),
        problems,
    )


_Pair = tuple[Record, Record, Record]


def _pairs(metrics: Record, problems: Problems, line: int) -> Sequence[_Pair]:
    """Each call's cost, tokens and latency."""
    costs, usages = mappings(metrics.get("costs")), mappings(metrics.get("token_usages"))
    latencies = mappings(metrics.get("response_latencies"))
    if len(latencies) != len(usages):
        latencies = [{}] * len(usages)
    if len(costs) == len(usages):
        return list(zip(costs, usages, latencies, strict=True))
    if usages:
        problems.warn(f"{len(costs)} costs and {len(usages)} usages do not pair; the calls count as uncosted", line)
    return [({}, usage, latency) for usage, latency in zip(usages, latencies, strict=True)]


def _call(session: str, node: str, model: str, numbered: tuple[int, _Pair], problems: Problems) -> Iterator[TracedCall]:
    index, (charged, usage, latency) = numbered
    ended = seconds(charged.get("timestamp"))
    call = TracedCall(
        id=text(usage.get("response_id"), latency.get("response_id"), f"{session}:{node}:{index}"),
        session=session,
        model=text(usage.get("model"), charged.get("model"), model),
        usage=Usage.from_openhands(usage, place=f"token_usages[{index}] of {node} in {session}"),
        recorded_cost=cost(charged.get("cost"), problems),
        started_at=max(ended - seconds(latency.get("latency")), 0),
        ended_at=ended,
        node=node,
    )
    if not call.usage.total_tokens:
        call.flags = (NO_USAGE_RECORDED,)
    yield call


def _statement(
    session: str,
    node: str,
    metrics: Record,
    calls: int,
    problems: Problems,
    *,
    succeeded: bool | None = None,
    turns: int = 0,
    error: str = "",
) -> Iterator[TracedCall]:
    stated = mapping(metrics.get("accumulated_token_usage"))
    yield TracedCall(
        id=f"{session}:{node}:statement",
        session=session,
        kind="statement",
        model=text(metrics.get("model_name"), stated.get("model")),
        usage=Usage.from_openhands(stated, place=f"accumulated_token_usage of {node} in {session}"),
        recorded_cost=cost(metrics.get("accumulated_cost"), problems),
        node=node,
        flags=() if stated else (NO_USAGE_RECORDED,),
        error=error,
        calls=calls or len(mappings(metrics.get("costs"))),
        turns=turns,
        succeeded=succeeded,
    )
