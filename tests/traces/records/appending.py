"""A process that appends calls to a journal: run with FOLDER NAME COUNT ROTATE_AT."""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Thread

from budgeted_agents.traces.records.journal import Journal
from tests.traces.support import a_call

THREADS = 4


def append(journal: Journal, name: str, count: int) -> None:
    for number in range(count):
        padding = "x" * (number % 7 * 3_000)  # lines of 2 to 20 KB, far above a pipe's 4
        journal.call(a_call(id=f"{name}-{number}", reason=padding))


def main(folder: str, name: str, count: int, rotate_at: int) -> None:
    journal = Journal(Path(folder), rotate_at)
    threads = [Thread(target=append, args=(journal, f"{name}-{each}", count)) for each in range(THREADS)]
    for thread in threads:
        thread.start()
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
