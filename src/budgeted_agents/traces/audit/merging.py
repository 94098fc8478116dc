"""What many processes folded, brought together."""

from __future__ import annotations

from budgeted_agents.traces.audit.audit import Audit
from budgeted_agents.traces.audit.folding import FileResult, Folded, Job, Part
from budgeted_agents.traces.audit.workers import Crew
from budgeted_agents.traces.call import TracedCall


class Merger:
    """Takes what jobs came to, in the order of the input.

    Args:
        audit: what everything is added to.
        crew: who looks a second time at calls that may be sums.

    Attributes:
        files: what became of each file, by path.
    """

    def __init__(self, audit: Audit, crew: Crew) -> None:
        self.audit = audit
        self.files: dict[str, FileResult] = {}
        self._crew = crew
        self._suspects: dict[Part, list[TracedCall]] = {}

    def take(self, job: Job, folded: Folded) -> None:
        """Take what a job came to."""
        self.audit.merge(folded.audit)
        for file in folded.files:
            self._take_file(file)
        if folded.suspects:
            whole = job.parts[0]._replace(range=None)
            self._suspects.setdefault(whole, []).extend(folded.suspects)

    def settle(self) -> None:
        """Take those of the suspects that are calls after all, now that their files are read to the end."""
        jobs = [Job((whole,), suspects=tuple(suspects)) for whole, suspects in self._suspects.items()]
        self._suspects = {}
        for job, folded in self._crew.fold_all(jobs):
            self.take(job, folded)

    def _take_file(self, file: FileResult) -> None:
        known = self.files.get(file.path)
        if known is None:
            self.files[file.path] = file
        else:
            known.calls += file.calls
            known.problems.merge(file.problems)
