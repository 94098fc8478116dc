"""mini-swe-agent trajectories: cost and usage of every call, in old ones of the run only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from budgeted_agents.traces.call import NO_USAGE_RECORDED, TracedCall
from budgeted_agents.traces.documents import Record, read_each, record, unnumbered
from budgeted_agents.traces.fields import cost, count, mapping, mappings, run_name, text
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.sources import Source
from budgeted_agents.traces.values import fingerprint, seconds
from budgeted_agents.usage import Usage

_TOOL = "bash"
"""The one tool that it has, where an action names none."""


class MiniSweAgent:
    """Reads one run of an instance."""

    name = "mini_swe_agent"
    about = "mini-swe-agent trajectories (.traj.json)"

    def detect(self, source: Source) -> bool:
        paths = source.outline
        return "info.mini_version" in paths or {"info.model_stats", "messages"} <= paths

    def read(self, source: Source) -> Iterator[TracedCall]:
        run, problems = record(source), source.problems
        messages = [mapping(message.get("extra")) for message in mappings(run.get("messages"))]
        answers = [extra for extra in messages if "response" in extra]
        stem = PurePath(source.path).name.partition(".")[0]
        session = run_name(text(run.get("instance_id"), stem), run.get("info"), [a.get("timestamp") for a in answers])
        info = mapping(run.get("info"))
        asked = text(mapping(mapping(info.get("config")).get("model")).get("model_name"))
        calls = list(
            read_each(unnumbered(enumerate(answers)), lambda _, item: _call(session, asked, *item, problems), problems)
        )
        yield from calls
        yield from read_each(
            unnumbered([info]), lambda _, info: _statement(session, asked, info, calls, problems), problems
        )


FORMAT = MiniSweAgent()


def _call(session: str, asked: str, index: int, extra: Record, problems: Problems) -> Iterator[TracedCall]:
    """A call by what was kept of it: of an answer that could not be used too, for it was paid all the same."""
    response = mapping(extra.get("response"))
    at = seconds(extra.get("timestamp"))
    call = TracedCall(
        id=text(response.get("id"), f"{session}:{index}"),
        session=session,
        model=text(response.get("model"), asked),
        model_asked=asked,
        usage=_usage(mapping(response.get("usage")), f"answer {index} of {session}"),
        recorded_cost=cost(extra.get("cost"), problems),
        started_at=at,
        ended_at=at,
        tools=tuple(_action(action) for action in mappings(extra.get("actions"))),
    )
    if not call.usage.total_tokens:
        call.flags = (NO_USAGE_RECORDED,)
    yield call


def _usage(reported: Record, place: str) -> Usage:
    """Usage of a chat completion, as LiteLLM hands it on, or of OpenAI's responses."""
    read = Usage.from_openai if "input_tokens" in reported else Usage.from_litellm
    return read(reported, place=place)


def _action(action: Record) -> tuple[str, str]:
    arguments: Any = {name: value for name, value in action.items() if name not in ("tool", "tool_call_id")}
    return text(action.get("tool"), _TOOL), fingerprint(arguments)


def _statement(
    session: str, asked: str, info: Record, calls: list[TracedCall], problems: Problems
) -> Iterator[TracedCall]:
    stats, status = mapping(info.get("model_stats")), text(info.get("exit_status"))
    is_submitted = status.lower() == "submitted"
    yield TracedCall(
        id=f"{session}:statement",
        session=session,
        kind="statement",
        model="" if calls else asked,
        recorded_cost=cost(stats.get("instance_cost"), problems),
        flags=() if calls else (NO_USAGE_RECORDED,),
        error="" if is_submitted else status,
        calls=count(stats.get("api_calls"), "api_calls", session),
        turns=1,
        succeeded=is_submitted if status else None,
    )
