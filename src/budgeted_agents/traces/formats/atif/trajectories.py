"""Trajectories: their steps, and what they state in sum.

A step of the agent with metrics is a call. Steps copied from an earlier trajectory were paid for there. Where only the
final metrics exist, there is a statement about the session and no call.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from budgeted_agents.traces.call import NO_USAGE_RECORDED, TracedCall
from budgeted_agents.traces.documents import Record, read_each, unnumbered
from budgeted_agents.traces.fields import cost, mapping, mappings, run_name, text
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.values import fingerprint, seconds
from budgeted_agents.usage import Usage

_DEEPEST = 20
"""Levels of sub-agents that are followed."""


def session_of(trajectory: Record, path: str) -> str:
    """The session that a trajectory is of; without a name for it, it is named after its file."""
    return text(trajectory.get("session_id")) or run_name(PurePath(path).stem, trajectory)


def trajectory_calls(trajectory: Record, session: str, problems: Problems, level: int = 0) -> Iterator[TracedCall]:
    """The calls of a trajectory and of those below it, and what it states in sum."""
    steps = [step for step in mappings(trajectory.get("steps")) if not step.get("is_copied_context")]
    agent = mapping(trajectory.get("agent"))
    answers = [step for step in steps if step.get("source") == "agent" and step.get("llm_call_count") != 0]
    has_metrics = any(mapping(step.get("metrics")) for step in answers)
    if has_metrics:
        name = f"{session}:{text(trajectory.get('trajectory_id'))}"
        yield from read_each(unnumbered(answers), lambda _, step: _call(step, name, session, agent, problems), problems)
    for child in mappings(trajectory.get("subagent_trajectories")) if level < _DEEPEST else ():
        yield from trajectory_calls(child, session, problems, level + 1)
    final = mapping(trajectory.get("final_metrics"))
    if final or level == 0 or not has_metrics:
        turns = sum(step.get("source") == "user" for step in steps) if level == 0 else 0
        yield from read_each(
            unnumbered([final]),
            lambda _, final: _statement(final, session, agent, len(answers), turns, has_metrics, problems),
            problems,
        )


def _call(step: Record, name: str, session: str, agent: Record, problems: Problems) -> Iterator[TracedCall]:
    metrics, at = mapping(step.get("metrics")), seconds(step.get("timestamp"))
    number = text(step.get("step_id"))
    yield TracedCall(
        id=run_name(f"{name}:{number}", step.get("timestamp"), metrics),
        session=session,
        model=text(step.get("model_name"), agent.get("model_name")),
        usage=Usage.from_atif(metrics, place=f"step {number} of {session}"),
        recorded_cost=cost(metrics.get("cost_usd"), problems),
        started_at=at,
        ended_at=at,
        node=text(agent.get("name")),
        tools=tuple(
            (text(tool.get("function_name")), fingerprint(tool.get("arguments")))
            for tool in mappings(step.get("tool_calls"))
        ),
        flags=() if metrics else (NO_USAGE_RECORDED,),
    )


def _statement(
    final: Record, session: str, agent: Record, calls: int, turns: int, has_calls: bool, problems: Problems
) -> Iterator[TracedCall]:
    yield TracedCall(
        id=run_name(f"{session}:statement", final, agent, turns),
        session=session,
        kind="statement",
        model=text(agent.get("model_name")),
        usage=Usage.from_atif(final, place=f"final_metrics of {session}"),
        recorded_cost=cost(final.get("total_cost_usd"), problems),
        node=text(agent.get("name")),
        flags=() if final or has_calls else (NO_USAGE_RECORDED,),
        calls=calls,
        turns=turns,
    )
