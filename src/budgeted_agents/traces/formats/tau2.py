"""tau2-bench results, with cost and tokens of every message, and tau-bench results, with the simulated user's cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from budgeted_agents.traces.call import CACHE_NOT_RECORDED, NO_USAGE_RECORDED, TracedCall
from budgeted_agents.traces.documents import Record, document, read_each, unnumbered
from budgeted_agents.traces.fields import cost, mapping, mappings, run_name, text, total
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.sources import Source
from budgeted_agents.traces.values import fingerprint, seconds
from budgeted_agents.usage import Usage

_NODES = {"assistant": "agent", "user": "user simulator"}
_INFO = {"assistant": "agent_info", "user": "user_info"}
_FULL_REWARD = 1 - 1e-6


class Tau2:
    """Reads both. A session is one simulation; its nodes are the agent and the simulated user."""

    name = "tau2"
    about = "tau2-bench results (each message), tau-bench results (cost of the simulated user only)"

    def detect(self, source: Source) -> bool:
        paths = source.outline
        return (
            {"info.agent_info", "info.user_info"} <= paths
            or {"simulations.task_id", "simulations.messages"} <= paths
            or {"task_id", "reward", "info.user_cost"} <= paths
            or {"task_id", "reward", "info.reward_info", "traj"} <= paths
        )

    def read(self, source: Source) -> Iterator[TracedCall]:
        results, problems = document(source), source.problems
        if isinstance(results, list):
            for trial in mappings(results):
                yield from _trial(trial, problems)
            return
        info = mapping(mapping(results).get("info"))
        models = {role: text(mapping(info.get(name)).get("llm")) for role, name in _INFO.items()}
        for simulation in mappings(mapping(results).get("simulations")):
            yield from _simulation(simulation, models, problems)


FORMAT = Tau2()


def _simulation(simulation: Record, models: Mapping[str, str], problems: Problems) -> Iterator[TracedCall]:
    session = text(simulation.get("id")) or run_name(f"task {text(simulation.get('task_id'))}", simulation)
    messages = mappings(simulation.get("messages"))
    calls = list(
        read_each(
            unnumbered(enumerate(messages)),
            lambda _, numbered: _calls(session, *numbered, models=models, problems=problems),
            problems,
        )
    )
    yield from calls
    yield TracedCall(
        id=f"{session}:statement",
        session=session,
        kind="statement",
        recorded_cost=total(*(cost(simulation.get(name), problems) for name in ("agent_cost", "user_cost"))),
        started_at=seconds(simulation.get("start_time")),
        ended_at=seconds(simulation.get("end_time")),
        calls=len(calls),
        turns=_turns(messages),
        succeeded=_succeeded(mapping(simulation.get("reward_info")).get("reward")),
    )


def _calls(
    session: str, index: int, message: Record, *, models: Mapping[str, str], problems: Problems
) -> Iterator[TracedCall]:
    """The call that made a message, if a model made it: a greeting is written into the benchmark and costs nothing."""
    role = text(message.get("role"))
    recorded = cost(message.get("cost"), problems)
    reported = _reported(message)
    if role not in _NODES or not (reported or recorded):
        return
    at = seconds(message.get("timestamp"))
    yield TracedCall(
        id=f"{session}:{index}",
        session=session,
        model=text(mapping(message.get("raw_data")).get("model"), models[role]),
        model_asked=models[role],
        usage=Usage.from_openai(reported, place=f"message {index} of simulation {session}"),
        recorded_cost=recorded,
        started_at=at,
        ended_at=at,
        node=_NODES[role],
        tools=_tools(message),
        flags=_flags(reported),
    )


def _reported(message: Record) -> Record:
    """The usage of a message. It leaves out what came from a cache; the provider's own, if it was kept, does not."""
    original = mapping(mapping(message.get("raw_data")).get("usage"))
    return original if original.get("prompt_tokens_details") else mapping(message.get("usage"))


def _flags(reported: Record) -> tuple[str, ...]:
    if not reported:
        return (NO_USAGE_RECORDED,)
    return () if reported.get("prompt_tokens_details") else (CACHE_NOT_RECORDED,)


def _trial(trial: Record, problems: Problems) -> Iterator[TracedCall]:
    """A trial of tau-bench: what the simulated user cost. The agent's own calls are not recorded."""
    session = run_name(f"task {text(trial.get('task_id'))} trial {text(trial.get('trial'))}", trial)
    messages = mappings(trial.get("traj"))
    yield TracedCall(
        id=f"{session}:statement",
        session=session,
        kind="statement",
        recorded_cost=cost(mapping(trial.get("info")).get("user_cost"), problems),
        node=_NODES["user"],
        flags=(NO_USAGE_RECORDED,),
        calls=_turns(messages),
        turns=_turns(messages),
        succeeded=_succeeded(trial.get("reward")),
    )
    asked = (tool for message in messages for tool in _tools(message))
    for index, (tool, digest) in enumerate(asked):
        yield TracedCall(id=f"{session}:{index}", session=session, kind="tool", tool=tool, fingerprint=digest)


def _tools(message: Record) -> tuple[tuple[str, str], ...]:
    asked = (mapping(tool.get("function")) or tool for tool in mappings(message.get("tool_calls")))
    return tuple((text(tool.get("name")), fingerprint(tool.get("arguments"))) for tool in asked)


def _turns(messages: Any) -> int:
    return sum(message.get("role") == "user" for message in messages)


def _succeeded(reward: Any) -> bool | None:
    return reward >= _FULL_REWARD if isinstance(reward, int | float) else None
