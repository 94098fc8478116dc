"""``scan``: traces into an audit, by as many processes as there is work for, in constant memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from budgeted_agents.prices import DatedPrices
from budgeted_agents.traces.audit.audit import Audit
from budgeted_agents.traces.audit.folding import FileResult, Job, Part, calls_of, readable
from budgeted_agents.traces.audit.merging import Merger
from budgeted_agents.traces.audit.seen import Seen, unseen
from budgeted_agents.traces.audit.workers import Alone, Crew, LoadPrices, Workers
from budgeted_agents.traces.call import TracedCall
from budgeted_agents.traces.files import FileSource, find_files
from budgeted_agents.traces.files.limits import MEBIBYTE
from budgeted_agents.traces.formats import Format, PartableFormat
from budgeted_agents.traces.formats.atif.copies import COPY, copies
from budgeted_agents.traces.formats.registry import Formats
from budgeted_agents.traces.problems import Problems

Paths = Iterable[str | Path]
Progress = Callable[[int, int], None]
"""Told after each job how many bytes of how many are done."""

_PART = 8 * MEBIBYTE
_LARGEST_PART = 32 * MEBIBYTE
_MOST_PARTS = 128
"""The input is split in about as many parts at most, as long as none of them is too large."""

_LAST_PARTS = 8
"""From where so many parts are left, they get smaller: at the end no process works long while the others wait."""

_AT_ONCE = 30_000
"""Calls that are compared at once with those seen before."""

_WORTH_A_WORKER = 16 * MEBIBYTE
"""Bytes for which a process more is worth its start."""

_MOST_WORKERS = 8


@dataclass(slots=True)
class Scan:
    """What traces come to.

    Attributes:
        audit: their calls, each once.
        files: what became of each file, in order.
        warnings: what concerns no file, such as a format that cannot be loaded.
    """

    audit: Audit
    files: list[FileResult]
    warnings: tuple[str, ...]


def scan(
    paths: Paths,
    *,
    format: str | None = None,
    prices: LoadPrices = DatedPrices.load,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Scan:
    """Audit traces.

    Args:
        paths: files, folders (walked) and patterns.
        format: the name of the format all of them are in; detected if not given.
        prices: loads what models cost.
        workers: how many processes read; by default as many as are worth their start.
        progress: is told how far it is.

    Raises:
        InvalidTrace: a path or the format does not exist. What is wrong within a file is a problem of that file.
        InvalidPrice: prices cannot be read.
    """
    formats = Formats.installed()
    found, again = _files(paths, formats, format)
    files = [Part(path, FileSource(path).size) for path in found]
    total = sum(file.size for file in files)
    with Seen() as seen, _crew(formats, format, prices, workers or _worth(total), seen) as crew:
        merger = Merger(Audit(crew.prices), crew)
        done = 0
        for job, folded in crew.fold_all(_jobs(files, formats, format)):
            merger.take(job, folded)
            done += sum(part.size for part in job.parts)
            if progress is not None:
                progress(done, total)
        merger.settle()
    told = [f"Files that tell again what trajectories above them tell, and so are not read: {len(again):,}."]
    warnings = (*formats.warnings, *(told if again else ()))
    return Scan(merger.audit, [*merger.files.values(), *again], warnings)


def trace_calls(
    paths: Paths, *, format: str | None = None, files: list[FileResult] | None = None
) -> Iterator[TracedCall]:
    """Every call of traces once, in the order they stand in the files; memory does not grow with their number.

    Args:
        paths: files, folders (walked) and patterns.
        format: the name of the format all of them are in; detected if not given.
        files: gets what became of each file, with what was passed over; complete once all calls are taken.

    Raises:
        InvalidTrace: a path or the format does not exist.
    """
    formats = Formats.installed()
    found, again = _files(paths, formats, format)
    results = [] if files is None else files
    results += again
    calls = _each(found, formats, format, results)
    with Seen() as seen:
        while some := list(islice(calls, _AT_ONCE)):
            yield from unseen([some], seen.take, are_last=False)[0]


def _files(paths: Paths, formats: Formats, forced: str | None) -> tuple[list[Path], list[FileResult]]:
    """The files to read, and what is said of those that only tell again what others do."""
    found = list(find_files(paths))
    if forced is not None:
        formats.named(forced)
        return found, []
    again = copies(found, formats)
    results = [FileResult(str(path), name, Problems(str(path))) for path, name in again.items()]
    for result in results:
        result.problems.warn(COPY)
    return [path for path in found if path not in again], results


def _each(paths: list[Path], formats: Formats, forced: str | None, files: list[FileResult]) -> Iterator[TracedCall]:
    """Every call, also those that are told of twice."""
    for path in paths:
        for source, format in readable(FileSource(path), formats, forced):
            files.append(FileResult(source.path, format.name if format else None, source.problems))
            if format is not None:
                yield from calls_of(source, format)


def _worth(size: int) -> int:
    """How many processes are worth their start for so many bytes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _MOST_WORKERS, size // _WORTH_A_WORKER))


def _crew(formats: Formats, forced: str | None, prices: LoadPrices, workers: int, seen: Seen) -> Crew:
    return Alone(formats, forced, prices(), seen) if workers == 1 else Workers(formats, forced, prices, workers, seen)


def _jobs(files: list[Part], formats: Formats, forced: str | None) -> Iterator[Job]:
    """Small files together, large ones in parts where their format allows it."""
    left = sum(file.size for file in files)
    largest = min(max(_PART, left // _MOST_PARTS), _LARGEST_PART)
    together: list[Part] = []
    size = 0
    for file in files:
        if file.size > _PART:
            yield from _jobs_of_one(FileSource(file.path), largest, left, formats, forced)
        else:
            together.append(file)
            size += file.size
            if size > _size(largest, left):
                yield Job(tuple(together))
                together, size = [], 0
        left -= file.size
    if together:
        yield Job(tuple(together))


def _jobs_of_one(source: FileSource, largest: int, left: int, formats: Formats, forced: str | None) -> Iterator[Job]:
    format = _partable(source, formats, forced)
    if format is None:
        yield Job((Part(source.file, source.size),))
        return
    start = 0
    while start < source.size:
        end = min(start + _size(largest, left - start), source.size)
        yield Job((Part(source.file, end - start, (start, end), format.name),))
        start = end


def _size(largest: int, left: int) -> int:
    """Bytes of the next job, by how many bytes are left."""
    return max(min(largest, left // _LAST_PARTS), largest // _LAST_PARTS)


def _partable(source: FileSource, formats: Formats, forced: str | None) -> Format | None:
    """The format of a file, if several processes can each read a part."""
    try:
        format = formats.named(forced) if forced else formats.of(source)
        is_partable = isinstance(format, PartableFormat) and source.can_be_parted and format.is_partable(source)
    except Exception:  # noqa: BLE001 -- whoever reads it whole says what is wrong
        return None
    return format if is_partable else None
