"""The journal: an append-only folder of OTLP JSON lines, written before a ledger books, from which it can be rebuilt.

Any number of processes and threads append to one file: a line is one ``write`` to a file opened with ``O_APPEND``,
which POSIX puts at the end as a whole, however long it is. Files are numbered, and a writer that finds its file full
goes on with the next number, so that rotation needs no agreement and renames nothing. A file is opened for each line:
that costs three microseconds, and neither a fork nor a removed folder needs care.

A line survives the death of the process once ``write`` returns. It is not synced one by one: after a power cut the
last seconds may be missing, as they may be of the ledger's own settlements, and then the holds, which are synced, are
presumed. A file is synced when it is full.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, TypeAlias

from budgeted_agents.errors import InvalidJournal, InvalidTrace, JournalUnavailable
from budgeted_agents.ledgers.urls import file_of, is_off, parsed
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.records import spans
from budgeted_agents.traces.records.attributes import NoBookkeeping
from budgeted_agents.traces.records.content import Content
from budgeted_agents.traces.records.event import BudgetEvent
from budgeted_agents.traces.records.record import CallRecord
from budgeted_agents.traces.records.recorder import ContentRecorder, Recorded, ToppedUp, check_content

SUFFIX = ".journal"
"""A ledger's journal stands beside it: ``spend.db.journal/``. (``spend.db-journal`` is what SQLite calls its own.)"""

VARIABLE = "BUDGETED_AGENTS_JOURNAL"
"""The environment variable that names a folder for journals nobody named, or says ``off``."""

ROTATE_AT = 64 * 1024 * 1024
"""Bytes after which a file is full."""

_ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst")

LONGEST_LINE = 1024 * 1024
"""Bytes of the longest line that is read; a span of ours has some 3,000, and with content up to 400,000."""

_NO_BOOKKEEPING = (
    "is a call without what a ledger is rebuilt from, as OpenTelemetryRecorder exports it; it was passed over"
)

JournalLike: TypeAlias = "Journal | str | os.PathLike[str] | bool | None"

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


@dataclass(unsafe_hash=True)
class Journal(ContentRecorder):
    """Writes calls, events and top-ups down. A recorder; two of one folder are equal.

    Args:
        path: the folder; it is made with the first line.
        rotate_at: bytes after which a file is full.
        content: whether what calls say is kept as well: messages, and the arguments and results of tools.

    Raises:
        InvalidJournal: the path names no folder, or ``content`` is neither True nor False.
    """

    path: Path
    rotate_at: int = ROTATE_AT
    content: bool = field(default=False, compare=False)
    _number: int = field(default=0, init=False, repr=False, compare=False)
    _end: tuple[int, int] = field(default=(0, 0), init=False, repr=False, compare=False)
    """The number of the file written to last, and where the line in it ended."""

    def __post_init__(self) -> None:
        self.path = _folder(self.path)
        check_content(self.content, "Journal", InvalidJournal)

    def parent(self) -> str:
        return ""

    @property
    def keeps_content(self) -> bool:
        return self.content

    def call(self, record: CallRecord, content: Content | None = None) -> None:
        self._write(record, content)

    def event(self, event: BudgetEvent) -> None:
        self._write(event)

    def top_up(self, topped_up: ToppedUp) -> None:
        self._write(topped_up)

    def files(self) -> list[Path]:
        """Its files, the oldest first, also those that somebody has packed."""
        files = (file for file in self.path.glob("journal-*") if file.name.endswith(_ENDINGS))
        return sorted(files, key=lambda file: (file.name.partition(".")[0], file.name.endswith(_ENDINGS[0])))

    def _write(self, recorded: Recorded, content: Content | None = None) -> None:
        """Raises:
        JournalUnavailable: the disk is full, the folder may not be written, or the text cannot be.
        """
        try:
            line = spans.to_line(recorded, content=content)
            number = self._number or max(map(number_of, self.files()), default=1)
            while not self._appended(line, number):
                number += 1
            self._number = number
        except (OSError, TypeError, ValueError) as error:
            raise JournalUnavailable(
                f"The journal {self.path} cannot be written ({error}). The ledger books the call all the same; free "
                "space or give access, or turn the journal off with journal=False."
            ) from error

    def _appended(self, line: bytes, number: int) -> bool:
        """Append a line to the file of this number; False if that file is full."""
        descriptor = self._open(number)
        try:
            size = os.fstat(descriptor).st_size
            if size >= self.rotate_at:
                os.fsync(descriptor)
                return False
            is_whole = size == 0 or self._end == (number, size)
            self._end = number, _append(descriptor, line, size, is_whole)
            return True
        finally:
            os.close(descriptor)

    def _open(self, number: int) -> int:
        path = f"{self.path}{os.sep}journal-{number:06}.jsonl"
        try:
            return os.open(path, _FLAGS, 0o666)
        except FileNotFoundError:
            self.path.mkdir(exist_ok=True)
            return os.open(path, _FLAGS, 0o666)


class JournalLine(NamedTuple):
    """What stands in one place of a journal."""

    recorded: Recorded
    place: str


def number_of(file: Path) -> int:
    """The number in a journal file's name; 1 if it has none."""
    digits = file.name.partition(".")[0].rpartition("-")[2]
    return int(digits) if digits.isascii() and digits.isdigit() else 1


def read_journal(path: str | os.PathLike[str], problems: list[Problems]) -> Iterator[JournalLine]:
    """Everything in a journal (a folder, or one file of OTLP JSON lines), in the order of its lines.

    Args:
        path: the folder or the file; files may be packed (gzip, zstd).
        problems: gets one entry for each file that has lines which cannot be read; a cut-off last line is one.

    Raises:
        InvalidJournal: there is no journal; or, once it is read, no call in it has its bookkeeping.
    """
    folder = Path(path)
    files = [folder] if folder.is_file() else Journal(folder).files()
    if not files:
        raise _no_journal("is no journal", path)
    return _read_all(files, problems)


def _read_all(files: Sequence[Path], problems: list[Problems]) -> Iterator[JournalLine]:
    has_calls = False
    for file in files:
        found = Problems(str(file))
        for line in _read(file, found):
            has_calls = has_calls or isinstance(line.recorded, CallRecord)
            yield line
        if found.kept:
            problems.append(found)
        if not has_calls and any(problem.message == _NO_BOOKKEEPING for problem in found.kept):
            raise _no_journal("is no journal: its calls lack their bookkeeping", file)


def _read(file: Path, problems: Problems) -> Iterator[JournalLine]:
    from budgeted_agents.traces.files import FileSource  # writers need it not

    source = FileSource(file)
    try:
        for first, _, lines in source.chunks():
            for number, line in enumerate(BytesIO(lines), first):
                if line.strip():
                    found = _recorded(line, problems, number)
                    yield from (JournalLine(recorded, f"{file}:{number}") for recorded in found)
    except InvalidTrace as error:
        problems.skip(error.problem)
    problems.merge(source.problems)


def _recorded(line: bytes, problems: Problems, number: int) -> list[Recorded]:
    """What stands in a line; and in what another process wrote behind a line that was cut off just then."""
    if len(line) > LONGEST_LINE:
        problems.skip(f"is longer than {LONGEST_LINE >> 20} MiB; it was passed over", number)
        return []
    begin, found = max(line.rfind(spans.OPENING), 0), list[Recorded]()
    for piece in filter(None, (line[:begin], line[begin:])):
        try:
            found += list(spans.from_line(piece))
        except NoBookkeeping:
            problems.skip(_NO_BOOKKEEPING, number)
        except ValueError as error:
            problems.skip(f"{error}; it was passed over" if piece.endswith(b"\n") else "is cut off", number)
    return found


def open_journal(journal: JournalLike, ledger_url: str) -> Journal | None:
    """The journal that goes with a ledger, or None.

    Args:
        journal: a journal or its folder; False or ``off`` for none; None or True for what the ledger's URL says, else
            for what ``BUDGETED_AGENTS_JOURNAL`` says, else for the folder beside a ledger in a file. A ledger in memory
            has none of its own.
        ledger_url: the ledger's URL.

    Raises:
        InvalidJournal: the setting is of the wrong type, or names no folder.
        InvalidLedger: the URL has options that no ledger has.
    """
    if journal is None or journal is True:
        journal = parsed(ledger_url).journal or os.environ.get(VARIABLE) or beside(ledger_url)
    if journal is None or isinstance(journal, bool) or is_off(journal):
        return None
    given = journal if isinstance(journal, Journal) else Journal(_folder(journal))
    path = given.path.absolute()
    if path.exists() and not path.is_dir():
        raise _refused("is a file", str(given.path))
    if not path.parent.is_dir():
        raise _refused(f"is in a folder that does not exist, {path.parent}", str(given.path))
    return replace(given, path=path)


def beside(ledger_url: str) -> Path | None:
    """The folder beside a ledger's file; None if the ledger has no file."""
    file = file_of(ledger_url)
    return None if file is None else Path(f"{file}{SUFFIX}")


def _folder(given: object) -> Path:
    if not isinstance(given, str | os.PathLike) or not str(given) or "\0" in str(given):
        raise _refused("names no folder", given)
    return Path(given)


def _append(descriptor: int, line: bytes, size: int, is_whole: bool) -> int:
    """Write a line as one; where an earlier one was cut off (a kill, a full disk), begin a new line first.

    Args:
        size: the file's.
        is_whole: whether it is known that the file ends with a line that is whole. To read the file takes long, as its
            time of access is written then.

    Returns:
        Where the line ends, unless others have written at the same time.
    """
    for _ in range(2):
        if not is_whole and size and os.lseek(descriptor, size - 1, os.SEEK_SET) and os.read(descriptor, 1) != b"\n":
            line = b"\n" + line.lstrip(b"\n")
        written = os.write(descriptor, line)
        if written == len(line):
            return size + written
        size, is_whole = os.fstat(descriptor).st_size, False
    raise OSError("the line could not be written as a whole")


def _no_journal(problem: str, path: str | os.PathLike[str]) -> InvalidJournal:
    remedy = "Name a journal's folder, e.g. spend.db.journal, or one of its files"
    return InvalidJournal(problem, field="journal", value=str(path), place="read_journal", remedy=remedy)


def _refused(problem: str, journal: object) -> InvalidJournal:
    remedy = 'Give a folder, e.g. journal="spend.db.journal", or journal=False for none'
    return InvalidJournal(problem, field="journal", value=journal, place="open_journal", remedy=remedy)
