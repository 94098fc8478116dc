"""A network that answers nobody, and remembers who tried: so that an examination cannot cost anything.

Python itself asks before it looks up a name, connects, or starts a process (audit events, ``sys.addaudithook``). A hook
cannot be taken away again, so there is one, and it is off except while an examination runs. Code that opens connections
without Python (gRPC, uvloop) does not ask; ``unseen`` says if such a library is loaded.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from budgeted_agents.doctor import stacks

PROVIDER_HOSTS = (
    "anthropic.com",
    "api.cerebras.ai",
    "api.deepseek.com",
    "api.together.xyz",
    "api.x.ai",
    "bedrock-runtime",
    "cohere.ai",
    "cohere.com",
    "fireworks.ai",
    "generativelanguage.googleapis.com",
    "aiplatform.googleapis.com",
    "groq.com",
    "mistral.ai",
    "openai.azure.com",
    "openai.com",
    "openrouter.ai",
)
"""Where models are served: a connection to one of these is a model call."""

PROVIDER_LIBRARIES = frozenset(
    {"anthropic", "cohere", "fireworks", "google.genai", "groq", "litellm", "mistralai", "ollama", "openai", "together"}
)
"""A connection made by one of these is a model call, wherever it goes."""

_MODELS = ("langchain_core.language_models", "budgeted_agents.integrations.langchain.callbacks.embeddings")

_UNSEEN = ("grpc", "uvloop")


class Blocked(ConnectionError):
    """A connection or process that an examination did not allow."""


@dataclass(frozen=True)
class Contact:
    """An attempt to reach something.

    Attributes:
        target: host, ``host:port``, or the program that was to be started.
        where: in the user's code; empty if it is not known.
        is_provider: it was a call of a model.
        is_model: it was made by a chat model or governed embeddings, which a budget may well see.
    """

    target: str
    where: str
    is_provider: bool = False
    is_model: bool = False


@dataclass
class Blockade:
    """What was tried while it stood. ``loop`` is where tasks are looked for."""

    contacts: list[Contact] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop | None = None


_standing: Blockade | None = None
_hooked = False


@contextmanager
def blocked() -> Iterator[Blockade]:
    """Nothing is connected or started inside the block."""
    global _standing, _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    _standing = blockade = Blockade()
    try:
        yield blockade
    finally:
        _standing = None


def unseen() -> list[str]:
    """Loaded libraries whose connections Python does not see."""
    return [name for name in _UNSEEN if name in sys.modules]


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    blockade = _standing
    if blockade is None:
        return
    target = _target(event, arguments)
    if target is not None and not _is_harmless(event):
        blockade.contacts.append(_contact(target, blockade))
        raise Blocked(f"{target} was not contacted: the doctor runs without a network")


def _target(event: str, arguments: tuple[Any, ...]) -> str | None:
    """What this event would reach; None if it reaches nothing outside of this process."""
    if event == "socket.getaddrinfo":
        return _text(arguments[0])
    if event in ("socket.connect", "socket.sendto") and arguments[0].family != getattr(socket, "AF_UNIX", None):
        address = arguments[1]
        return ":".join(map(_text, address[:2])) if isinstance(address, tuple) else _text(address)
    if event in ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec"):
        return f"program {_text(arguments[0])}"
    return None


def _is_harmless(event: str) -> bool:
    """The standard library asks ``uname`` what machine this is."""
    return event == "subprocess.Popen" and "platform" in stacks.packages(stacks.frames_here(3))


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _contact(target: str, blockade: Blockade) -> Contact:
    candidates = [stacks.frames_here(3), *stacks.frames_of_tasks(blockade.loop)]
    frames = next((frames for frames in candidates if _library(frames) and stacks.users_place(frames)), candidates[0])
    is_provider = bool(_library(frames)) or any(host in target for host in PROVIDER_HOSTS)
    is_model = any(name.startswith(_MODELS) for name in stacks.packages(frames))
    return Contact(target, stacks.users_place(frames), is_provider, is_model)


def _library(frames: Sequence[FrameType]) -> str:
    """The provider's library that is at work in these frames; else empty."""
    names = stacks.packages(frames)
    return next((lib for lib in PROVIDER_LIBRARIES for name in names if name == lib or name.startswith(f"{lib}.")), "")
