"""LangSmith: runs as JSON, JSON lines, bodies of ``/runs/batch``, and the Parquet of its bulk export.

Runs of type ``llm`` and ``embedding`` are calls; chains above them repeat their usage in sum. ``session_id`` of a run
names its project, never a conversation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.traces import parquet
from budgeted_agents.traces.call import CACHE_TTL_UNKNOWN, NO_USAGE, NO_USAGE_RECORDED, Kind, TracedCall
from budgeted_agents.traces.documents import Record, read_each, records, unnumbered
from budgeted_agents.traces.fields import cost, identity, mapping, mappings, names, text, total
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.sources import Source
from budgeted_agents.traces.values import fingerprint, seconds, texts
from budgeted_agents.usage import Usage, service_tier

_KINDS: dict[str, Kind] = {"llm": "model", "embedding": "embedding", "tool": "tool"}
_BATCH = ("post", "patch")
_MOST_OPEN = 10_000
"""Runs that may wait for the patch that completes them; the oldest is let go as it is."""

_COLUMNS = frozenset(
    {
        *("id", "trace_id", "parent_run_id", "run_type", "name", "start_time", "end_time", "status", "error"),
        *("extra", "metadata", "tags", "session_name", "outputs"),
        *("prompt_tokens", "completion_tokens", "total_tokens", "prompt_token_details", "completion_token_details"),
        *("total_cost", "prompt_cost", "completion_cost"),
    }
)

_COLUMNS_OF_CHAINS = frozenset({"id", "trace_id", "run_type", "extra", "metadata"})
_THREAD = ("thread_id", "session_id", "conversation_id")
_MOST_TRACES = 100_000
"""Traces whose thread is remembered; the oldest is forgotten."""

_STAY = 1_000
"""Calls that wait for other runs of their traces, which may stand behind them."""


class LangSmith:
    """Reads all of them."""

    name = "langsmith"
    about = "LangSmith: runs (JSON, JSON lines), bodies of /runs/batch, bulk export (Parquet)"

    def detect(self, source: Source) -> bool:
        if parquet.mentions(source, "trace_id", "run_type"):
            return True
        paths = source.outline
        return any(
            {f"{place}run_type", f"{place}trace_id"} <= paths or f"{place}dotted_order" in paths
            for place in ("", "post.", "patch.", "runs.")
        )

    def read(self, source: Source) -> Iterator[TracedCall]:
        problems, threads = source.problems, _Threads()
        runs = unnumbered(_rows(source)) if parquet.is_parquet(source) else _runs(records(source), problems)
        return threads.told(read_each(runs, lambda line, run: _calls(run, threads, problems, line), problems))


FORMAT = LangSmith()


def _rows(source: Source) -> Iterator[Record]:
    """The rows of a Parquet file. Inputs, which can be large, are read of tools alone; of chains what threads they are
    part of, before anything else."""
    yield from parquet.rows(source, _COLUMNS_OF_CHAINS, run_type=("chain",))
    yield from parquet.rows(source, _COLUMNS, run_type=("llm", "embedding"))
    yield from parquet.rows(source, _COLUMNS | {"inputs"}, run_type=("tool",))


def _runs(numbered: Iterator[tuple[int, Record]], problems: Problems) -> Iterator[tuple[int, Record]]:
    """All runs, each with its line."""
    batches = _Batches(problems)
    for line, record in numbered:
        if any(part in record for part in _BATCH):
            yield from batches.add(line, record)
        else:
            listed = mappings(record["runs"]) if "runs" in record else [record]
            yield from ((line, run) for root in listed for run in _family(root))
    yield from batches.rest()


class _Threads:
    """The threads of traces. Often only a trace's first run says which it is in, and exports have that one last."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def note(self, trace: str, metadata: Record) -> str:
        """The thread that a run names; it is that of its trace. Empty if it names none."""
        thread = text(*(metadata.get(name) for name in _THREAD))
        if thread and trace not in self._known:
            if len(self._known) >= _MOST_TRACES:
                self._known.pop(next(iter(self._known)))
            self._known[trace] = thread
        return thread

    def told(self, calls: Iterator[TracedCall]) -> Iterator[TracedCall]:
        """The calls, those that name no thread with that of their trace, if another run near them names one."""
        waiting: list[TracedCall] = []
        try:
            for call in calls:
                waiting.append(call)
                if len(waiting) >= 2 * _STAY:
                    yield from map(self._with_thread, waiting[:_STAY])
                    del waiting[:_STAY]
        except InvalidTrace:
            yield from map(self._with_thread, waiting)  # what was read before the damage counts
            raise
        yield from map(self._with_thread, waiting)

    def _with_thread(self, call: TracedCall) -> TracedCall:
        if call.session == call.trace:
            call.session = self._known.get(call.trace, call.session)
        return call


class _Batches:
    """Bodies of ``/runs/batch``: what was posted when a run began waits for the patch that completes it."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._begun: dict[str, tuple[int, Record]] = {}

    def add(self, line: int, body: Record) -> Iterator[tuple[int, Record]]:
        """Take a body; the runs that are complete."""
        for run in mappings(body.get("post")):
            if run.get("end_time"):
                yield line, run
            else:
                self._begun[text(run.get("id"))] = line, _slim(run)
                if len(self._begun) > _MOST_OPEN:
                    yield self._begun.pop(next(iter(self._begun)))
        for patch in mappings(body.get("patch")):
            _, run = self._begun.pop(text(patch.get("id")), (line, {}))
            if not run and "run_type" not in patch:
                self._problems.skip("a patch completes a run whose beginning is not in this file; it is skipped", line)
            yield line, _patched(run, patch)

    def rest(self) -> Iterator[tuple[int, Record]]:
        """The runs that nothing completed."""
        return iter(self._begun.values())


def _family(run: Record) -> Iterator[Record]:
    """A run and the runs below it, where it was loaded with them."""
    waiting = [run]
    while waiting:
        yield (oldest := waiting.pop())
        waiting.extend(reversed(mappings(oldest.get("child_runs"))))


def _slim(run: Record) -> Record:
    """A run without its texts; a tool's inputs are its arguments."""
    unneeded = {"serialized", "events"} if run.get("run_type") == "tool" else {"serialized", "events", "inputs"}
    return {name: value for name, value in run.items() if name not in unneeded}


def _patched(run: Record, patch: Record) -> Record:
    return {**run, **{name: value for name, value in patch.items() if value not in (None, "", [], {})}}


def _calls(run: Record, threads: _Threads, problems: Problems, line: int) -> Iterator[TracedCall]:
    kind = _KINDS.get(text(run.get("run_type")))
    metadata = mapping(mapping(run.get("extra")).get("metadata")) or mapping(run.get("metadata"))
    trace = text(run.get("trace_id"), run.get("id"))
    thread = threads.note(trace, metadata)
    if kind is None:
        return
    span = identity(run.get("id"), "run")
    call = TracedCall(
        id=span,
        session=thread or trace,
        kind=kind,
        trace=trace,
        span=span,
        parent=text(run.get("parent_run_id")),
        started_at=seconds(run.get("start_time")),
        ended_at=seconds(run.get("end_time")),
        node=text(metadata.get("langgraph_node")),
        attribution=_attribution(run, metadata),
        error=_error(run),
        line=line,
    )
    if kind == "tool":
        call.tool = text(run.get("name"))
        call.fingerprint = fingerprint(_arguments(run)) if run.get("inputs") else ""
    else:
        _be_model_call(call, run, metadata, problems)
    yield call


def _be_model_call(call: TracedCall, run: Record, metadata: Record, problems: Problems) -> None:
    outputs = mapping(run.get("outputs"))
    message = _message(outputs)
    usage = _usage_metadata(outputs, metadata, message)
    call.model_asked = text(metadata.get("ls_model_name"))
    call.model = text(
        outputs.get("model"), mapping(message.get("response_metadata")).get("model_name"), call.model_asked
    )
    call.provider = text(metadata.get("ls_provider"))
    call.usage = _usage(usage, run, outputs, call.span)
    call.service_tier = service_tier(usage) or service_tier(outputs) or ""
    call.recorded_cost = _recorded(run, usage, problems, call.line)
    if not call.usage.total_tokens:
        call.flags = (NO_USAGE_RECORDED,)
    elif call.usage.cache_write_5m and "ephemeral_5m_input_tokens" not in mapping(usage.get("input_token_details")):
        call.flags = (CACHE_TTL_UNKNOWN,)


def _message(outputs: Record) -> Record:
    """The answer of a LangChain model, out of its serialized generations."""
    generations = outputs.get("generations")
    if isinstance(generations, list) and generations and isinstance(generations[0], list):
        generations = generations[0]
    first = next(iter(mappings(generations)), {})
    message = mapping(first.get("message"))
    return mapping(message.get("kwargs")) or message


def _usage_metadata(outputs: Record, metadata: Record, message: Record) -> Record:
    places = (outputs, metadata, message)
    return next((found for place in places if (found := mapping(place.get("usage_metadata")))), {})


def _usage(usage: Record, run: Record, outputs: Record, span: str) -> Usage:
    place = f"usage of run {span}"
    if usage:
        return Usage.from_langchain(usage, place=place)
    if run.get("prompt_tokens") or run.get("completion_tokens"):
        return Usage.from_langchain(_totals(run), place=place)
    reported = mapping(mapping(outputs.get("llm_output")).get("token_usage")) or mapping(outputs.get("usage"))
    return Usage.from_openai(reported, place=place) if reported else NO_USAGE


def _totals(run: Record) -> Mapping[str, Any]:
    """A run's own totals, under the names of ``usage_metadata``."""
    return {
        "input_tokens": run.get("prompt_tokens"),
        "output_tokens": run.get("completion_tokens"),
        "total_tokens": run.get("total_tokens"),
        "input_token_details": mapping(run.get("prompt_token_details")),
        "output_token_details": mapping(run.get("completion_token_details")),
    }


def _recorded(run: Record, usage: Record, problems: Problems, line: int) -> Decimal | None:
    for place in (run, usage):
        if place.get("total_cost") is not None:
            return cost(place["total_cost"], problems, line)
    return total(*(cost(run.get(name), problems, line) for name in ("prompt_cost", "completion_cost")))


def _attribution(run: Record, metadata: Record) -> Mapping[str, str]:
    return texts(
        tenant=text(metadata.get("tenant"), metadata.get("tenant_id")),
        user=text(metadata.get("user"), metadata.get("user_id")),
        feature=metadata.get("feature"),
        workflow=run.get("session_name"),
        environment=text(metadata.get("environment"), metadata.get("env")),
        tags=names(run.get("tags")),
    )


def _arguments(run: Record) -> Any:
    """A tool's arguments: LangChain puts them, as text, under ``input``."""
    inputs = mapping(run.get("inputs"))
    return inputs["input"] if set(inputs) == {"input"} else inputs


def _error(run: Record) -> str:
    """The class of an error: its text begins with the exception as Python shows it."""
    stated = run.get("error")
    if not stated:
        return "error" if run.get("status") == "error" else ""
    name = text(stated).partition("(")[0].partition(":")[0].strip().rpartition(".")[2]
    return name if name.isidentifier() else "error"
