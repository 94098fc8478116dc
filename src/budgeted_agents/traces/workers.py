"""Processes that fold parts of the input. They are started as programs: a fork would copy threads' locks, and a spawn
would run the user's script again."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import IO, Protocol, Self

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.traces.audit import Prices
from budgeted_agents.traces.folding import Folded, Folder, Job
from budgeted_agents.traces.formats.registry import Formats

LoadPrices = Callable[[], Prices]
"""Loads prices; called once in each process, so it has to be picklable."""

_AHEAD = 2
"""Jobs for each worker that are done before they are asked for."""


class Setup:
    """What every process needs to do jobs.

    Args:
        format: the name of the format all files are in; None to detect it.
        prices: loads what models cost.
    """

    def __init__(self, format: str | None, prices: LoadPrices) -> None:
        self.format = format
        self.prices = prices

    def folder(self, formats: Formats | None = None) -> Folder:
        """Who does jobs in this process.

        Raises:
            InvalidTrace: there is no such format.
            InvalidPrice: prices cannot be read.
        """
        formats = formats or Formats.installed()
        return Folder(formats, formats.named(self.format) if self.format else None, self.prices())


class Crew(Protocol):
    """Who does jobs. A context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def fold(self, job: Job) -> Folded:
        """Do a job.

        Raises:
            InvalidTrace: its process died.
        """

    def fold_all(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Folded]]:
        """Do jobs; they come back in order.

        Raises:
            InvalidTrace: a process died.
        """


class Alone:
    """This process, as a crew of one.

    Args:
        folder: who does its jobs.
    """

    def __init__(self, folder: Folder) -> None:
        self.fold = folder.fold

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def fold_all(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Folded]]:
        return ((job, self.fold(job)) for job in jobs)


class Workers:
    """Several processes that do jobs. A context manager.

    Args:
        setup: what they need.
        count: how many there are.
    """

    def __init__(self, setup: Setup, count: int) -> None:
        self._count = count
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._workers = [_Worker(setup) for _ in range(count)]
        self._threads = ThreadPoolExecutor(count)
        for worker in self._workers:
            self._idle.put(worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.stop()
        self._threads.shutdown(cancel_futures=True)

    def fold(self, job: Job) -> Folded:
        worker = self._idle.get()
        try:
            return worker.fold(job)
        finally:
            self._idle.put(worker)

    def fold_all(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Folded]]:
        begun: deque[tuple[Job, Future[Folded]]] = deque()
        for job in jobs:
            begun.append((job, self._threads.submit(self.fold, job)))
            if len(begun) > self._count * _AHEAD:
                yield _finished(begun)
        while begun:
            yield _finished(begun)


def _finished(begun: deque[tuple[Job, Future[Folded]]]) -> tuple[Job, Folded]:
    job, future = begun.popleft()
    return job, future.result()


class _Worker:
    """One process, spoken to by pickles over its standard input and output."""

    def __init__(self, setup: Setup) -> None:
        # One salt for all, because what they hash is compared.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-P", "-m", "budgeted_agents.traces.workers"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=-1
        )
        self._send(setup)

    def fold(self, job: Job) -> Folded:
        try:
            self._send(job)
            answer = pickle.load(self._output)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            raise InvalidTrace(
                f"the process that read it ended ({self._process.wait()})",
                field="path",
                value=str(job.parts[0].path),
                place="replay",
                remedy="Give it more memory, or use --workers 1 to see what it fails at",
            ) from error
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, Folded)
        return answer

    def stop(self) -> None:
        self._input.close()
        self._output.close()
        self._process.wait()

    @property
    def _input(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _output(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _send(self, message: Setup | Job) -> None:
        pickle.dump(message, self._input, pickle.HIGHEST_PROTOCOL)
        self._input.flush()


def main() -> None:
    """Do jobs until there are no more."""
    given, output = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what an importer prints must not stand among the answers
    folder = pickle.load(given).folder()
    while True:
        try:
            job = pickle.load(given)
        except EOFError:
            return
        try:
            answer: Folded | Exception = folder.fold(job)
        except Exception as error:  # noqa: BLE001 -- raised again where the job came from
            answer = error
        pickle.dump(answer, output, pickle.HIGHEST_PROTOCOL)
        output.flush()


if __name__ == "__main__":
    main()
