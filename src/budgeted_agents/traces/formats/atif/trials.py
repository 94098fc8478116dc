"""What Harbor says of a trial in its ``result.json``: whether the agent succeeded, its tokens and its cost in sum.

A trajectory beside it has the same figures, call by call, so then only the outcome is taken from here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path, PurePath
from typing import NamedTuple

import msgspec

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.traces.call import CACHE_NOT_RECORDED, NO_USAGE_RECORDED, TracedCall
from budgeted_agents.traces.documents import Record, read_each, record, unnumbered
from budgeted_agents.traces.fields import cost, identity, mapping, mappings, text
from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.formats.atif.trajectories import session_of
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.sources import Source
from budgeted_agents.traces.values import seconds
from budgeted_agents.usage import Usage

_TRIAL = {"trial_name", "task_name", "agent_info.name"}
_JOBS = ({"n_total_trials", "stats.n_trials"}, {"n_total_trials", "stats.n_completed_trials"})
_METRICS = {
    "n_input_tokens": "total_prompt_tokens",
    "n_output_tokens": "total_completion_tokens",
    "n_cache_tokens": "total_cached_tokens",
}
"""Harbor's names, and those of a trajectory for the same: input includes what came from a cache."""

_FULL_REWARD = 1 - 1e-6

AGENT, TRAJECTORY = "agent", "trajectory.json"
"""The folder where an agent leaves what it kept, and the file in it with its trajectory."""


class _Step(NamedTuple):
    """A part of a trial; most have one.

    Attributes:
        name: tells it from the others.
        result: what is said of it.
        session: that of the trajectory beside it; empty if there is none.
        is_told: whether that trajectory has figures of its own.
    """

    name: str
    result: Record
    session: str
    is_told: bool


def is_trial(paths: Collection[str]) -> bool:
    """Whether a file with these keys is the result of a trial."""
    return _TRIAL.issubset(paths)


def is_job(paths: Collection[str]) -> bool:
    """Whether a file with these keys is the result of a job."""
    return any(job.issubset(paths) for job in _JOBS)


def trial_statements(trial: Record, source: Source) -> Iterator[TracedCall]:
    """What a trial's result states, step by step and model by model."""
    problems = source.problems
    if not isinstance(source, FileSource):
        problems.skip("a trial's result says nothing without what stands beside it; unpack the archive")
        return iter(())
    steps = unnumbered(_steps(trial, source.file.parent))
    return read_each(steps, lambda _, step: _statements(trial, step, problems), problems)


def _steps(trial: Record, folder: Path) -> Iterator[_Step]:
    steps = mappings(trial.get("step_results"))
    if mapping(trial.get("agent_result")) or not steps:
        yield _Step("", trial, *told_beside(folder))
        return
    for step in steps:
        name = PurePath(text(step.get("step_name"))).name
        yield _Step(name, step, *told_beside(folder / "steps" / name))


def told_beside(folder: Path) -> tuple[str, bool]:
    """The session of the trajectory that an agent left in its part of a trial, and whether it has any figures."""
    path = folder / AGENT / TRAJECTORY
    try:
        trajectory = record(FileSource(path)) if path.is_file() else {}
    except InvalidTrace:
        return "", False  # whoever reads it says so
    if not text(trajectory.get("schema_version")).startswith("ATIF"):
        return "", False
    kept = (trajectory.get("final_metrics"), *(step.get("metrics") for step in mappings(trajectory.get("steps"))))
    return session_of(trajectory, str(path)), any(map(mapping, kept))


def _statements(trial: Record, step: _Step, problems: Problems) -> Iterator[TracedCall]:
    name = f"{identity(trial.get('id'), 'trial')}:{step.name}"
    agent, rewards = (
        mapping(trial.get("agent_info")),
        mapping(mapping(step.result.get("verifier_result")).get("rewards")),
    )
    outcome = TracedCall(
        id=name,
        session=step.session or text(trial.get("trial_name"), name),
        kind="statement",
        started_at=seconds(trial.get("started_at")),
        ended_at=seconds(trial.get("finished_at")),
        node=text(agent.get("name")),
        error=text(mapping(step.result.get("exception_info")).get("exception_type")),
        calls=0,  # how many there were, nothing says
        turns=0 if step.session else 1,
        succeeded=_succeeded(rewards),
    )
    yield outcome
    if not step.is_told:
        for model, used in _by_model(mapping(step.result.get("agent_result")), mapping(agent.get("model_info"))):
            place = f"agent_result of {text(trial.get('trial_name'))}"
            yield msgspec.structs.replace(
                outcome,
                id=f"{name}:{model}",
                model=model,
                usage=Usage.from_atif(_as_metrics(used), place=place),
                recorded_cost=cost(used.get("cost_usd"), problems),
                flags=_flags(used),
                turns=0,
                succeeded=None,
            )


def _by_model(used: Record, model: Record) -> Iterator[tuple[str, Record]]:
    """What each model used, if that accounts for the whole cost; else what they used in sum, as by the main model."""
    by_model = {name: mapping(of_one) for name, of_one in mapping(used.get("model_usage")).items()}
    has_costs = all(of_one.get("cost_usd") is not None for of_one in by_model.values())
    if by_model and (has_costs or used.get("cost_usd") is None):
        yield from by_model.items()
    elif any(used.get(name) is not None for name in (*_METRICS, "cost_usd")):
        provider, name = text(model.get("provider")), text(model.get("name"))
        yield f"{provider}/{name}" if provider and "/" not in name else name, used


def _as_metrics(used: Record) -> Record:
    return {metric: used.get(name) for name, metric in _METRICS.items()}


def _flags(used: Record) -> tuple[str, ...]:
    if all(used.get(name) is None for name in _METRICS):
        return (NO_USAGE_RECORDED,)
    return (CACHE_NOT_RECORDED,) if used.get("n_cache_tokens") is None else ()


def _succeeded(rewards: Record) -> bool | None:
    found = [reward for reward in rewards.values() if isinstance(reward, int | float)]
    return all(reward >= _FULL_REWARD for reward in found) if found else None
