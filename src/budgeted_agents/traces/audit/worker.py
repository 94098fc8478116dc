"""One process of several: it does the jobs that come over its standard input, as pickles, until there are no more."""

from __future__ import annotations

import gc
import pickle
import sys
from contextlib import suppress
from typing import IO, Any

from budgeted_agents.prices import Price
from budgeted_agents.traces.audit.folding import Folded, Folder, Job, Question
from budgeted_agents.traces.audit.seen import Ask, Keys
from budgeted_agents.traces.formats.registry import Formats

_GARBAGE = 100_000
"""Objects after which to look for cycles among them. A worker makes many objects and hardly a cycle."""


class _Parent:
    """The process that gives the jobs. It has the prices, and knows what other workers have seen."""

    def __init__(self, given: IO[bytes], output: IO[bytes]) -> None:
        self._given = given
        self._output = output

    def on(self, day: int, model: str, provider: str, region: str) -> Price | None:
        price: Price | None = self.ask(Question(day, model, provider, region))
        return price

    def known(self, keys: Keys) -> set[int]:
        known: set[int] = self.ask(keys)
        return known

    def ask(self, message: object) -> Any:
        """Send something, and wait for what comes back: the answer, or the next job."""
        pickle.dump(message, self._output, pickle.HIGHEST_PROTOCOL)
        self._output.flush()
        return pickle.load(self._given)


def main() -> None:
    """Do jobs until there are no more. First comes what files may be in, and the format that all of them are in."""
    gc.freeze()
    gc.set_threshold(_GARBAGE)
    parent = _Parent(sys.stdin.buffer, sys.stdout.buffer)
    sys.stdout = sys.stderr  # what an importer prints must not stand among the answers
    with suppress(EOFError, BrokenPipeError):
        places, forced = pickle.load(sys.stdin.buffer)
        folder = Folder(Formats(places), forced, parent)
        job = pickle.load(sys.stdin.buffer)
        while True:
            job = parent.ask(_done(folder, job, parent.known))


def _done(folder: Folder, job: Job, ask: Ask) -> Folded | Exception:
    try:
        return folder.fold(job, ask)
    except (EOFError, BrokenPipeError):
        raise
    except Exception as error:  # noqa: BLE001 -- raised again where the job came from
        return error


if __name__ == "__main__":
    main()
