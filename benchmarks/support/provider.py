"""The local provider in a process of its own, so that it shares no interpreter lock with what is measured."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self
from urllib.request import urlopen

from budgeted_agents.estimate import count_text
from budgeted_agents.testing.provider import LocalProvider
from budgeted_agents.testing.replies import ReplyPolicy

# Read when LiteLLM and LangChain are first imported: nothing leaves the machine while something is measured.
OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}
os.environ.update(OFFLINE)

SPAWN = multiprocessing.get_context("spawn")
"""Processes that inherit nothing: neither locks, nor threads, nor what was imported."""


@dataclass(frozen=True)
class Bill:
    """What the provider has billed so far, by its own count."""

    nanos: int
    requests: tuple[dict[str, Any], ...]

    @property
    def paid(self) -> set[str]:
        """The ids of the answers that were paid for and sent whole."""
        answered = (r for r in self.requests if r["nanos"] and r["status"] == 200)
        return {f"chatcmpl-{request['number']}" for request in answered}


class ProviderProcess:
    """A ``LocalProvider`` that bills on arrival and counts tokens as gpt-4o does. A context manager.

    Args:
        policy: makes the reply policy, in the provider's process; has to be picklable.
    """

    def __init__(self, policy: Callable[[], ReplyPolicy]) -> None:
        self._ours, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_serve, args=(policy, theirs), daemon=True)
        self.url = ""

    def __enter__(self) -> Self:
        self._process.start()
        self.url = self._ours.recv()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ours.send("stop")
        self._process.join()

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def bill(self) -> Bill:
        with urlopen(f"{self.url}/bill") as response:
            body = json.load(response)
        return Bill(body["nanos"], tuple(body["requests"]))


def _serve(policy: Callable[[], ReplyPolicy], pipe: Connection) -> None:
    with LocalProvider(policy(), count_tokens=count_text) as provider:
        pipe.send(provider.url)
        pipe.recv()
