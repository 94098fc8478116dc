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
from contextlib import suppress
from queue import SimpleQueue
from typing import Protocol, Self

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.prices import Price
from budgeted_agents.traces.audit import Prices
from budgeted_agents.traces.folding import Folded, Folder, Job, Question
from budgeted_agents.traces.formats.registry import Formats

LoadPrices = Callable[[], Prices]
"""Loads prices."""

_AHEAD = 2
"""Jobs for each worker that are done before they are asked for."""


class Crew(Protocol):
    """Who does jobs. A context manager.

    Attributes:
        prices: what models cost.
    """

    @property
    def prices(self) -> Prices: ...

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
        formats: what files may be in.
        forced: the name of the format all files are in; None to detect it.
        prices: what models cost.
    """

    def __init__(self, formats: Formats, forced: str | None, prices: Prices) -> None:
        self.prices = prices
        self.fold = Folder(formats, forced, prices).fold

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def fold_all(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Folded]]:
        return ((job, self.fold(job)) for job in jobs)


class Workers:
    """Several processes that do jobs. A context manager.

    Args:
        format: the name of the format all files are in; None to detect it.
        prices: loads what models cost; called once, in a thread, while the processes start. What it raises, `fold_all`
            raises.
        count: how many there are.
    """

    def __init__(self, format: str | None, prices: LoadPrices, count: int) -> None:
        self._count = count
        self._workers = [_Worker(format) for _ in range(count)]
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(count + 1)
        self.prices = _LoadingPrices(self._threads.submit(prices))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.stop()
        self._threads.shutdown(cancel_futures=True)

    def fold(self, job: Job) -> Folded:
        worker = self._idle.get()
        try:
            return worker.fold(job, self.prices)
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
        self.prices.loaded()


def _finished(begun: deque[tuple[Job, Future[Folded]]]) -> tuple[Job, Folded]:
    job, future = begun.popleft()
    return job, future.result()


class _LoadingPrices:
    """Prices that are still being loaded; whoever asks waits for them."""

    def __init__(self, loading: Future[Prices]) -> None:
        self.loaded = loading.result

    def on(self, day: int, model: str, provider: str) -> Price | None:
        return self.loaded().on(day, model, provider)


class _Worker:
    """One process, spoken to by pickles over its standard input and output."""

    def __init__(self, format: str | None) -> None:
        # One salt for all, because what they hash is compared.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-P", "-m", "budgeted_agents.traces.worker", *([format] if format else [])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)

    def fold(self, job: Job, prices: Prices) -> Folded:
        try:
            answer = self._ask(job)
            while isinstance(answer, Question):
                answer = self._ask(prices.on(*answer))
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
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()
        self._process.wait()

    def _ask(self, message: object) -> object:
        given, output = self._process.stdin, self._process.stdout
        assert given is not None
        assert output is not None
        pickle.dump(message, given, pickle.HIGHEST_PROTOCOL)
        given.flush()
        return pickle.load(output)
