"""Langfuse: traces as its pages and API give them, exports of observations, and its exports to blob storage.

Only GENERATION and EMBEDDING observations are calls: the agents and spans above them can carry the same cost again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal

from budgeted_agents.traces import parquet
from budgeted_agents.traces.call import CACHE_TTL_UNKNOWN, ESTIMATED, NO_USAGE_RECORDED, Kind, TracedCall
from budgeted_agents.traces.documents import Record, read_each, unnumbered
from budgeted_agents.traces.fields import cost, identity, mapping, mappings, names, numbers, text
from budgeted_agents.traces.formats.langfuse.tables import renamed, table_of, text_rows
from budgeted_agents.traces.formats.langfuse.traces import context_of, with_traces
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.sources import Source
from budgeted_agents.traces.values import fingerprint, seconds, texts
from budgeted_agents.usage import Usage

_KINDS: dict[str, Kind] = {"GENERATION": "model", "EMBEDDING": "embedding", "TOOL": "tool"}
_SUMS = {"input": "prompt", "output": "completion", "total": "total"}
_COLUMNS = frozenset(
    {
        *("id", "trace_id", "parent_observation_id", "type", "name", "level", "start_time", "end_time", "metadata"),
        *("session_id", "user_id", "trace_name", "environment", "tags"),
        *("model", "provided_model_name", "usage_details", "cost_details", "total_cost"),
    }
)


class Langfuse:
    """Reads all of them; JSON, JSON lines, CSV and Parquet."""

    name = "langfuse"
    about = "Langfuse: trace JSON, exports of observations (JSON, JSON lines, CSV), blob storage exports (also Parquet)"

    def detect(self, source: Source) -> bool:
        return table_of(source) is not None

    def read(self, source: Source) -> Iterator[TracedCall]:
        """Its calls. Traces without observations have none, and scores neither."""
        if parquet.is_parquet(source) and table_of(source) != "observations":
            return iter(())
        problems = source.problems
        calls = (numbered for numbered in _observations(source) if text(numbered[1].get("type")) in _KINDS)
        return read_each(with_traces(calls, source), lambda line, row: _calls(row, problems, line), problems)


FORMAT = Langfuse()


def _observations(source: Source) -> Iterator[tuple[int, Record]]:
    """All observations, one flat record each, under the names that the blob storage export uses."""
    if parquet.is_parquet(source):
        yield from unnumbered(_rows(source))
        return
    for line, record in text_rows(source):
        if "observations" in record:
            yield from ((line, row) for row in _of_trace(record))
        elif "data" in record:
            yield from ((line, renamed(row)) for row in mappings(record["data"]))
        else:
            yield line, renamed(record)


def _rows(source: Source) -> Iterator[Record]:
    """The rows of a Parquet file. Inputs, which can be large, are read of tools alone."""
    yield from parquet.rows(source, _COLUMNS, type=("GENERATION", "EMBEDDING"))
    yield from parquet.rows(source, _COLUMNS | {"input"}, type=("TOOL",))


def _of_trace(record: Record) -> Iterator[Record]:
    """The observations of a trace, with what only the trace says, and how its generations stand to one another.

    A generation above others is no call if it only sums them up. Otherwise Langfuse charges it by tokens that it
    counted itself, and the ones below stand for themselves.
    """
    context = context_of(renamed(mapping(record.get("trace")) or record))
    rows = [renamed(row) for row in mappings(record["observations"])]
    generations = {text(row.get("id")): row for row in rows if row.get("type") == "GENERATION"}
    below: defaultdict[str, list[Record]] = defaultdict(list)
    for row in generations.values():
        below[text(row.get("parent_observation_id"))].append(row)
    sums = {id for id, row in generations.items() if id in below and _is_roll_up(row, below[id])}
    apart = generations.keys() & below.keys() - sums
    for row in rows:
        id, parent = text(row.get("id")), text(row.get("parent_observation_id"))
        if id not in sums:
            own = {name: value for name, value in row.items() if value is not None}
            relations = {"parent_observation_id": "" if parent in apart else parent, "counted_by_langfuse": id in apart}
            yield {**context, **own, **relations}


def _is_roll_up(row: Record, children: list[Record]) -> bool:
    return all(_count(row, name) == sum(_count(child, name) for child in children) for name in ("input", "output"))


def _count(row: Record, name: str) -> int:
    value = _tokens(row).get(name)
    return value if isinstance(value, int) else 0


def _calls(row: Record, problems: Problems, line: int) -> Iterator[TracedCall]:
    kind, metadata = _KINDS[text(row.get("type"))], mapping(row.get("metadata"))
    trace, span = text(row.get("trace_id")), identity(row.get("id"), "observation")
    call = TracedCall(
        id=f"{trace}/{span}",
        session=text(row.get("session_id"), trace),
        kind=kind,
        trace=trace,
        span=span,
        parent=text(row.get("parent_observation_id")),
        recorded_cost=_recorded(row, problems, line),
        started_at=seconds(row.get("start_time")),
        ended_at=seconds(row.get("end_time")),
        node=text(metadata.get("langgraph_node"), mapping(metadata.get("attributes")).get("gen_ai.agent.name")),
        attribution=texts(
            user=row.get("user_id"),
            environment=row.get("environment"),
            workflow=row.get("trace_name"),
            tags=names(row.get("tags")),
        ),
        error="error" if row.get("level") == "ERROR" else "",
        line=line,
    )
    if kind == "tool":
        _be_tool(call, row, mapping(metadata.get("attributes")))
    else:
        _be_model_call(call, row, metadata)
    yield call


def _be_tool(call: TracedCall, row: Record, attributes: Record) -> None:
    call.tool = text(attributes.get("gen_ai.tool.name"), attributes.get("ai.toolCall.name"), row.get("name"))
    if row.get("input") is not None:
        call.fingerprint = fingerprint(row["input"])


def _be_model_call(call: TracedCall, row: Record, metadata: Record) -> None:
    tokens = _tokens(row)
    call.usage = Usage.from_langfuse(tokens, place=f"usage of {call.span}")
    call.model = text(row.get("provided_model_name"), row.get("model"))
    call.model_asked = text(metadata.get("ls_model_name"))
    call.provider = text(metadata.get("ls_provider"))
    if not call.usage.total_tokens:
        call.flags = (NO_USAGE_RECORDED,)
    elif call.usage.cache_write_5m and "input_cache_creation_5m" not in tokens:
        call.flags = (CACHE_TTL_UNKNOWN,)
    if row.get("counted_by_langfuse"):
        call.flags += (ESTIMATED,)


def _tokens(row: Record) -> Record:
    details = numbers(row.get("usage_details")) or numbers(row.get("usage")) or numbers(_sums(row))
    if not details or text(details.get("unit")) not in ("", "TOKENS"):
        return {}
    return details


def _sums(row: Record) -> Record:
    """What old exports say of tokens: the sums alone, each in a column."""
    found = {name: row.get(f"{column}_tokens") for name, column in _SUMS.items()}
    return {name: tokens for name, tokens in found.items() if tokens is not None}


def _recorded(row: Record, problems: Problems, line: int) -> Decimal | None:
    """The cost in sum. Without details, 0 is what Langfuse writes for a model whose price it does not know."""
    stated = mapping(row.get("cost_details")).get("total")
    if stated is not None:
        return cost(stated, problems, line)
    return cost(row.get("total_cost", row.get("calculated_total_cost")), problems, line) or None
