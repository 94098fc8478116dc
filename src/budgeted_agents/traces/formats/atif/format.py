"""Trajectories, and what Harbor says of trials: told apart, and read."""

from __future__ import annotations

from collections.abc import Iterator

from budgeted_agents.traces.call import TracedCall
from budgeted_agents.traces.documents import record
from budgeted_agents.traces.formats.atif.trajectories import session_of, trajectory_calls
from budgeted_agents.traces.formats.atif.trials import is_job, is_trial, trial_statements
from budgeted_agents.traces.sources import Source


class Atif:
    """Reads one trajectory with those of its sub-agents, all in one session; or what Harbor says of a trial."""

    name = "atif"
    about = "ATIF trajectories (Harbor, Terminal-Bench), versions 1.0 to 1.8, and Harbor's result.json of trials"

    def detect(self, source: Source) -> bool:
        paths = source.outline
        is_trajectory = {"schema_version", "agent.name"} <= paths and b'"ATIF-v' in source.head
        return is_trajectory or is_trial(paths) or is_job(paths)

    def read(self, source: Source) -> Iterator[TracedCall]:
        """Its calls and statements. A job's result sums up those of its trials, so it says nothing of its own."""
        if is_job(source.outline):
            return iter(())
        found = record(source)
        if is_trial(source.outline):
            return trial_statements(found, source)
        return trajectory_calls(found, session_of(found, source.path), source.problems)


FORMAT = Atif()
