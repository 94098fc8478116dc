"""SWE-agent trajectories: what a run cost in sum. Their tokens are counted by SWE-agent itself, not by the provider."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from budgeted_agents.traces.call import CACHE_NOT_RECORDED, ESTIMATED, TracedCall
from budgeted_agents.traces.documents import Record, read_each, record, unnumbered
from budgeted_agents.traces.fields import cost, count, mapping, mappings, run_name, text
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.sources import Source
from budgeted_agents.traces.values import fingerprint
from budgeted_agents.usage import Usage


class SweAgent:
    """Reads one run: a statement, and the actions it took as tool calls."""

    name = "swe_agent"
    about = "SWE-agent trajectories (.traj): cost and estimated tokens of a run in sum"

    def detect(self, source: Source) -> bool:
        paths = source.outline
        return {"trajectory.action", "trajectory.observation"} <= paths or {"history", "info.model_stats"} <= paths

    def read(self, source: Source) -> Iterator[TracedCall]:
        stem, problems = PurePath(source.path).stem, source.problems
        return read_each(unnumbered([record(source)]), lambda _, run: _run(run, stem, problems), problems)


FORMAT = SweAgent()


def _run(run: Record, stem: str, problems: Problems) -> Iterator[TracedCall]:
    info, config = mapping(run.get("info")), mapping(run.get("replay_config"))
    stats, steps = mapping(info.get("model_stats")), mappings(run.get("trajectory"))
    instance = text(mapping(config.get("problem_statement")).get("id"), stem)
    session = run_name(instance, stats, [step.get("execution_time") for step in steps])
    status = text(info.get("exit_status"))
    tokens = {"prompt_tokens": stats.get("tokens_sent"), "completion_tokens": stats.get("tokens_received")}
    yield TracedCall(
        id=f"{session}:statement",
        session=session,
        kind="statement",
        model=text(mapping(mapping(config.get("agent")).get("model")).get("name")),
        usage=Usage.from_openai(tokens, place=f"model_stats of {instance}"),
        recorded_cost=cost(stats.get("instance_cost"), problems),
        flags=(ESTIMATED, CACHE_NOT_RECORDED),
        error="" if status.startswith("submitted") else status,
        calls=count(stats.get("api_calls"), "api_calls", instance),
        turns=1,
        succeeded=status == "submitted" if status else None,
    )
    for index, action in enumerate(text(step.get("action")).strip() for step in steps):
        if action:
            tool, digest = action.split(maxsplit=1)[0], fingerprint(action)
            yield TracedCall(id=f"{session}:{index}", session=session, kind="tool", tool=tool, fingerprint=digest)
