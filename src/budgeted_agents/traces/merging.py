"""What many processes folded, brought together: each call once, each file once."""

from __future__ import annotations

from budgeted_agents.traces.audit import Audit
from budgeted_agents.traces.call import TracedCall
from budgeted_agents.traces.folding import FileResult, Folded, Job, Part
from budgeted_agents.traces.seen import Seen
from budgeted_agents.traces.workers import Crew


class Merger:
    """Takes what jobs came to, in the order of the input, so that the first of several writings of a call counts.

    Args:
        audit: what everything is added to.
        seen: the calls that count already.
        crew: who does a job again if some of its calls were seen elsewhere.

    Attributes:
        files: what became of each file, by path.
    """

    def __init__(self, audit: Audit, seen: Seen, crew: Crew) -> None:
        self.audit = audit
        self.files: dict[str, FileResult] = {}
        self._seen = seen
        self._crew = crew
        self._suspects: dict[Part, list[TracedCall]] = {}

    def take(self, job: Job, folded: Folded) -> None:
        """Take one job's calls, without those that were seen before."""
        known = self._seen.known(folded.questions)
        if known:
            folded = self._crew.fold(job._replace(known=frozenset(known)))
        self._seen.add(folded.facts)
        self.audit.merge(folded.audit)
        for file in folded.files:
            self._take_file(file)
        if folded.suspects:
            whole = job.parts[0]._replace(range=None)
            self._suspects.setdefault(whole, []).extend(folded.suspects)

    def settle(self) -> None:
        """Take those of the suspects that are calls after all, now that their files are read to the end."""
        for whole, suspects in self._suspects.items():
            job = Job((whole,), suspects=tuple(suspects))
            self.take(job, self._crew.fold(job))
        self._suspects = {}

    def _take_file(self, file: FileResult) -> None:
        known = self.files.get(file.path)
        if known is None:
            self.files[file.path] = file
        else:
            known.calls += file.calls
            known.problems.merge(file.problems)
