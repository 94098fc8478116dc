"""One job of a replay: read some files, or parts of one, into an audit. Jobs know nothing of each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from budgeted_agents.errors import BudgetedAgentsError, InvalidTrace
from budgeted_agents.traces.audit.audit import Audit, Prices, Remembered
from budgeted_agents.traces.audit.seen import Ask, unseen
from budgeted_agents.traces.call import MAY_BE_SUM, MODEL_KINDS, TracedCall
from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.formats import Format, PartableFormat
from budgeted_agents.traces.formats.registry import Formats
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.sources import Source

_MOST_CALLS = 30_000
"""Calls that a job keeps before it adds them up: with a job's worth of lines, all of them."""

UNKNOWN = "is in no known format; --format says which it is in"


class Part(NamedTuple):
    """A file, or the lines of it that begin in a range of bytes, in a format that is known already."""

    path: Path
    size: int
    range: tuple[int, int] | None = None
    format: str | None = None


class Job(NamedTuple):
    """What one process does at once.

    Attributes:
        parts: what to read, in order.
        suspects: only say which of these calls of the one file are calls.
    """

    parts: tuple[Part, ...]
    suspects: tuple[TracedCall, ...] = ()


class Question(NamedTuple):
    """A worker asks what a model costs on a day: only who started it has prices, which take long to load."""

    day: int
    model: str
    provider: str
    region: str


@dataclass(slots=True)
class FileResult:
    """What became of one file.

    Attributes:
        path: the file; an archive's member is ``archive!member``.
        format: the format it was read as; None if none is known.
        calls: how many calls of models it has that count.
        problems: what was passed over.
    """

    path: str
    format: str | None
    problems: Problems
    calls: int = 0

    @property
    def skipped(self) -> int:
        """How many records were passed over."""
        return self.problems.skipped


@dataclass(slots=True)
class Folded:
    """What a job comes to.

    Attributes:
        audit: its calls.
        files: what became of its files, in order.
        suspects: calls that may be sums; the rest of their file tells.
    """

    audit: Audit
    files: list[FileResult] = field(default_factory=list)
    suspects: list[TracedCall] = field(default_factory=list)


class Folder:
    """Does jobs.

    Args:
        formats: what files may be in.
        forced: the name of the one format they are in, if the user says so.
        prices: what models cost.
    """

    def __init__(self, formats: Formats, forced: str | None, prices: Prices) -> None:
        self._formats = formats
        self._forced = forced
        self._prices = Remembered(prices)

    def fold(self, job: Job, ask: Ask) -> Folded:
        """The audit of a job's calls, without those that were seen before."""
        folded = Folded(Audit(self._prices))
        batch = _Batch(folded.audit, ask)
        for part in job.parts:
            self._fold_file(part, job, folded, batch)
        batch.add_up(are_last=True)
        return folded

    def _fold_file(self, part: Part, job: Job, folded: Folded, batch: _Batch) -> None:
        source = FileSource(part.path, part.range)
        for each, format in readable(source, self._formats, part.format or self._forced):
            result = FileResult(each.path, format.name if format else None, each.problems)
            folded.files.append(result)
            if format is not None:
                batch.take(result, _calls(each, format, job, folded.suspects))
        if source.problems.kept and source.is_part:
            source.problems.move(source.lines_before())


class _Batch:
    """Calls that wait until it is known which of them count.

    Args:
        audit: what they are added to.
        ask: tells which were seen elsewhere.
    """

    def __init__(self, audit: Audit, ask: Ask) -> None:
        self._audit = audit
        self._ask = ask
        self._waiting: list[tuple[FileResult, list[TracedCall]]] = []
        self._size = 0

    def take(self, result: FileResult, calls: Iterator[TracedCall]) -> None:
        """Take the calls of a file."""
        while more := list(islice(calls, _MOST_CALLS - self._size)):
            self._waiting.append((result, more))
            self._size += len(more)
            if self._size == _MOST_CALLS:
                self.add_up(are_last=False)

    def add_up(self, are_last: bool) -> None:
        """Add those that count."""
        counting = unseen([calls for _, calls in self._waiting], self._ask, are_last=are_last)
        for (result, _), calls in zip(self._waiting, counting, strict=True):
            for call in calls:
                self._audit.add(call)
            result.calls += sum(call.kind in MODEL_KINDS for call in calls)
        self._waiting, self._size = [], 0


def readable(source: FileSource, formats: Formats, forced: str | None = None) -> Iterator[tuple[Source, Format | None]]:
    """A file, or if no format reads it as the archive it is, its members; each with its format.

    What cannot be read comes without a format, and its problems say why.
    """
    format = _format_of(source, formats, forced)
    members = () if format is not None else source.members()
    is_archive = False
    try:
        for member in members:
            is_archive = True
            yield member, _told(member, _format_of(member, formats, forced))
    except BudgetedAgentsError as error:
        source.problems.skip(_said(error))
        is_archive = False
    if not is_archive:
        yield source, _told(source, format)


def calls_of(source: Source, format: Format) -> Iterator[TracedCall]:
    """The calls of one file. What its importer fails at is a problem of that file alone."""
    return _guarded(partial(format.read, source), source.problems)


def _told(source: Source, format: Format | None) -> Format | None:
    """The format; where there is none, and nothing says why, a problem does."""
    if format is None and not source.problems.kept:
        source.problems.skip(UNKNOWN if source.head.strip() else "is empty")
    return format


def _format_of(source: Source, formats: Formats, forced: str | None) -> Format | None:
    try:
        if forced is None:
            return formats.of(source)
        format = formats.named(forced)
        is_for_members = isinstance(source, FileSource) and source.is_archive and not format.detect(source)
        return None if is_for_members else format
    except BudgetedAgentsError as error:
        source.problems.skip(_said(error))
    except Exception as error:  # noqa: BLE001 -- an importer's bug must not cost the rest of the input
        source.problems.skip(f"its format cannot be told ({type(error).__name__}: {error})")
    return None


def _said(error: BudgetedAgentsError) -> str:
    """What an error says, without the place, which its problem has."""
    return f"{error.problem}. {error.remedy}" if isinstance(error, InvalidTrace) else str(error)


def _calls(source: Source, format: Format, job: Job, suspects: list[TracedCall]) -> Iterator[TracedCall]:
    """What counts of a file, or of a part of one; of a part, calls that may be sums go to the suspects."""
    is_part = isinstance(source, FileSource) and source.is_part
    if (is_part or job.suspects) and isinstance(format, PartableFormat):  # to ask whether it is one takes long
        if job.suspects:
            return _guarded(partial(format.settle, source, list(job.suspects)), source.problems)
        return _sure(_guarded(partial(format.read_part, source), source.problems), suspects)
    return calls_of(source, format)


def _sure(calls: Iterator[TracedCall], suspects: list[TracedCall]) -> Iterator[TracedCall]:
    for call in calls:
        if MAY_BE_SUM in call.flags:
            suspects.append(call)
        else:
            yield call


def _guarded(read: Callable[[], Iterator[TracedCall]], problems: Problems) -> Iterator[TracedCall]:
    try:
        yield from read()  # an importer that is no generator fails here
    except BudgetedAgentsError as error:
        problems.skip(_said(error))
    except Exception as error:  # noqa: BLE001 -- an importer's bug must not cost the rest of the input
        problems.skip(f"its importer failed ({type(error).__name__}: {error}); what was read before that counts")
