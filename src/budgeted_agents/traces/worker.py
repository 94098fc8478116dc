"""One process of several: it does the jobs that come over its standard input, as pickles, until there are no more."""

from __future__ import annotations

import pickle
import sys
from typing import IO

from budgeted_agents.prices import Price
from budgeted_agents.traces.folding import Folded, Folder, Question
from budgeted_agents.traces.formats.registry import Formats


class _AskedPrices:
    """Prices that another process knows."""

    def __init__(self, given: IO[bytes], output: IO[bytes]) -> None:
        self._given = given
        self._output = output

    def on(self, day: int, model: str, provider: str) -> Price | None:
        _send(Question(day, model, provider), self._output)
        price: Price | None = pickle.load(self._given)
        return price


def _send(message: object, output: IO[bytes]) -> None:
    pickle.dump(message, output, pickle.HIGHEST_PROTOCOL)
    output.flush()


def main(format: str | None = None) -> None:
    """Do jobs until there are no more."""
    given, output = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what an importer prints must not stand among the answers
    folder = Folder(Formats.installed(), format, _AskedPrices(given, output))
    while True:
        try:
            job = pickle.load(given)
        except EOFError:
            return
        try:
            answer: Folded | Exception = folder.fold(job)
        except Exception as error:  # noqa: BLE001 -- raised again where the job came from
            answer = error
        _send(answer, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
