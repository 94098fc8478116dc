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
from functools import partial
from queue import SimpleQueue
from threading import Condition
from typing import Protocol, Self

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.prices import Price
from budgeted_agents.traces.audit.audit import Prices
from budgeted_agents.traces.audit.folding import Folded, Folder, Job, Question
from budgeted_agents.traces.audit.seen import Ask, Keys, Seen
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
        seen: the calls that count already.
    """

    def __init__(self, formats: Formats, forced: str | None, prices: Prices, seen: Seen) -> None:
        self.prices = prices
        self._folder = Folder(formats, forced, prices)
        self._seen = seen

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def fold_all(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Folded]]:
        return ((job, self._folder.fold(job, self._seen.take)) for job in jobs)


class Workers:
    """Several processes that do jobs. A context manager.

    Args:
        formats: what files may be in.
        forced: the name of the format all files are in; None to detect it.
        prices: loads what models cost; called once, in a thread, while the processes start. What it raises, `fold_all`
            raises.
        count: how many there are.
        seen: the calls that count already.
    """

    def __init__(self, formats: Formats, forced: str | None, prices: LoadPrices, count: int, seen: Seen) -> None:
        self._count = count
        self._workers = [_Worker(formats, forced) for _ in range(count)]
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        # With a thread for each worker, jobs begin in order, and none waits for a worker while a later one has it.
        self._threads = ThreadPoolExecutor(count)
        self._loading = ThreadPoolExecutor(1)
        self._turns = _Turns(seen)
        self._begun = 0
        self.prices = _LoadingPrices(self._loading.submit(prices))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failed: object) -> None:
        for worker in self._workers:
            if any(failed):
                worker.kill()  # nobody wants what it still reads
            worker.stop()
        self._threads.shutdown(cancel_futures=True)
        self._loading.shutdown()

    def fold_all(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Folded]]:
        begun: deque[tuple[Job, Future[Folded]]] = deque()
        for job in jobs:
            begun.append((job, self._threads.submit(self._fold, job, self._begun)))
            self._begun += 1
            if len(begun) > self._count * _AHEAD:
                yield _finished(begun)
        while begun:
            yield _finished(begun)
        self.prices.loaded()

    def _fold(self, job: Job, number: int) -> Folded:
        worker = self._idle.get()
        try:
            return worker.fold(job, self.prices, partial(self._turns.take, number))
        finally:
            self._turns.end(number)
            self._idle.put(worker)


class _Turns:
    """Which calls count, asked by threads and answered in the order of the jobs, whoever comes first.

    Args:
        seen: the calls that count already.
    """

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._turn = 0
        self._changed = Condition()

    def take(self, number: int, keys: Keys) -> set[int]:
        """Which calls of a job were seen before, as soon as all jobs before it are through."""
        with self._changed:
            self._changed.wait_for(lambda: self._turn == number)
            known = self._seen.take(keys)
            if keys.are_last:
                self._next()
            return known

    def end(self, number: int) -> None:
        """A job is through, even if it failed before it could say so."""
        with self._changed:
            self._changed.wait_for(lambda: self._turn >= number)
            if self._turn == number:
                self._next()

    def _next(self) -> None:
        self._turn += 1
        self._changed.notify_all()


def _finished(begun: deque[tuple[Job, Future[Folded]]]) -> tuple[Job, Folded]:
    job, future = begun.popleft()
    return job, future.result()


class _LoadingPrices:
    """Prices that are still being loaded; whoever asks waits for them."""

    def __init__(self, loading: Future[Prices]) -> None:
        self.loaded = loading.result

    def on(self, day: int, model: str, provider: str, region: str) -> Price | None:
        return self.loaded().on(day, model, provider, region)


class _Worker:
    """One process, spoken to by pickles over its standard input and output."""

    def __init__(self, formats: Formats, forced: str | None) -> None:
        # One salt for all, because what they hash is compared.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-P", "-m", "budgeted_agents.traces.audit.worker"]
        # In a group of its own, Ctrl-C reaches only the process that gives the jobs, which then ends the workers.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, process_group=0
        )
        with suppress(BrokenPipeError):  # whoever gives it a job says that it died
            self._send((formats.places, forced))

    def fold(self, job: Job, prices: Prices, take: Ask) -> Folded:
        try:
            answer = self._ask(job)
            while isinstance(answer, Question | Keys):
                answer = self._ask(take(answer) if isinstance(answer, Keys) else prices.on(*answer))
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

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()
        self._process.wait()

    def _ask(self, message: object) -> object:
        self._send(message)
        assert self._process.stdout is not None
        return pickle.load(self._process.stdout)

    def _send(self, message: object) -> None:
        given = self._process.stdin
        assert given is not None
        pickle.dump(message, given, pickle.HIGHEST_PROTOCOL)
        given.flush()
