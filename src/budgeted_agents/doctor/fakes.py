"""Fake models and tools in the places of the real ones, for as long as an examination lasts.

Every chat model that is alive gets the class of a fake, derived from its own, so that graphs, chains, closures and
governed models go on as they are: only what would be sent is answered here. Afterward each has its own class again.
Tools are not run either: a fake model's arguments must not do anything in the world.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import BaseTool

from budgeted_agents.doctor import stacks
from budgeted_agents.doctor.answers import OUTPUT_TOKENS, answer
from budgeted_agents.integrations.langchain.callbacks.handler import GoverningHandler
from budgeted_agents.integrations.langchain.calls import introspect
from budgeted_agents.integrations.langchain.calls.messages import count, schema_texts
from budgeted_agents.integrations.langchain.governance.governance import SELF_METERED
from budgeted_agents.integrations.langchain.governance.in_force import current
from budgeted_agents.integrations.langchain.models.governed_model import is_governed

MOST_ANSWERS = 60
"""Answers until an examination takes an application for endless."""

_FRAMEWORK_TOOLS = ("deepagents", "langchain.agents", "budgeted_agents")
"""Tools of these do their work on the graph's own state, and are run."""


class Enough(RuntimeError):
    """The application goes on and on; the examination has seen what it came for."""


@dataclass(frozen=True)
class Answered:
    """One call that a fake model answered.

    Attributes:
        model, provider: to look up its price by.
        input_tokens, output_tokens: what the answer says was used.
        metered: whether a budget's handler stood in front of the call.
        where: in the user's code; ``node`` the graph's node.
        retries: how often the class itself would send a failed request again.
        without_usage: a stream whose usage the provider would not have been asked for.
    """

    model: str
    provider: str | None
    input_tokens: int
    output_tokens: int
    metered: bool
    where: str
    node: str
    retries: int
    without_usage: bool


@dataclass
class Log:
    """What fakes were asked for."""

    answered: list[Answered] = field(default_factory=list)
    tools: set[str] = field(default_factory=set)
    nodes: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, call: Answered) -> None:
        with self._lock:
            if len(self.answered) >= MOST_ANSWERS:
                raise Enough(f"more than {MOST_ANSWERS} model calls in one examination")
            self.answered.append(call)


class Fakes(BaseCallbackHandler):
    """The fakes in place; as a callback handler it replaces models that are made while the application runs."""

    run_inline = True
    raise_error = True
    ignore_retriever = ignore_agent = ignore_custom_event = True

    def __init__(self, *, run_tools: bool) -> None:
        self.log = Log()
        self._run_tools = run_tools
        self._replaced: list[tuple[Any, type]] = []
        self._caches: list[tuple[Any, Any]] = []

    def replace_all(self, *, young: bool = False) -> None:
        """Put a fake in the place of every model and tool that is alive, or was made since the collector was halted."""
        objects = gc.get_objects(generation=0 if young else None)
        fakes = {kind: _fake_class(kind) for kind in set(map(type, objects))}
        for found in objects:
            # By its type: isinstance would ask the object itself, and some answer by importing something.
            fake = fakes.get(type(found))
            if fake is not None and issubclass(fake, _Fake):
                self._turn_cache_off(found)
            if fake is not None and not is_governed(found) and not self._is_run(found):
                self._replace(found, fake)

    def restore_all(self) -> None:
        """Give everything its own class again, and models their caches."""
        for found, kind in self._replaced:
            object.__setattr__(found, "__class__", kind)
        for model, cache in self._caches:
            vars(model)["cache"] = cache
        self._replaced.clear()
        self._caches.clear()

    def _replace(self, found: Any, fake: type) -> None:
        self._replaced.append((found, type(found)))
        object.__setattr__(found, "__class__", fake)

    def _turn_cache_off(self, model: Any) -> None:
        """A fake answer that is kept would be given in earnest later on; a kept answer would be no call at all."""
        cache = vars(model).get("cache")
        if cache is not False:
            self._caches.append((model, cache))
            vars(model)["cache"] = False

    def _is_run(self, tool: object) -> bool:
        if not isinstance(tool, BaseTool):
            return False
        function = getattr(tool, "func", None) or getattr(tool, "coroutine", None)
        module = str(getattr(function, "__module__", None) or type(tool).__module__)
        return self._run_tools or module.startswith(_FRAMEWORK_TOOLS)

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.replace_all(young=True)

    def on_chain_start(self, serialized: Any, inputs: Any, *, metadata: Any = None, **kwargs: Any) -> None:
        self.log.nodes.add(str((metadata or {}).get("langgraph_node") or ""))


_log: Log | None = None


@contextmanager
def fakes_in_place(*, run_tools: bool = False) -> Iterator[Fakes]:
    """All models, and tools unless ``run_tools``, are fakes inside the block."""
    global _log
    fakes = Fakes(run_tools=run_tools)
    _log = fakes.log
    with _collector_halted():
        try:
            fakes.replace_all()
            yield fakes
        finally:
            fakes.restore_all()
            _log = None


@contextmanager
def _collector_halted() -> Iterator[None]:
    """What is made inside the block stays in the collector's youngest generation, where it is found quickly."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _answer(
    model: BaseChatModel, messages: Sequence[BaseMessage], manager: Any, arguments: Any, *, stream: bool
) -> Any:
    """The fake's answer, entered into the log."""
    name, provider = introspect.price_name(model)
    metadata = getattr(manager, "metadata", None) or {}
    tokens = count(name, messages, schema_texts(arguments))
    output = min(introspect.asked_limit(model, arguments) or OUTPUT_TOKENS, OUTPUT_TOKENS)
    if _log is not None:
        call = Answered(
            model=name,
            provider=provider,
            input_tokens=tokens,
            output_tokens=output,
            metered=_is_metered(manager),
            where=stacks.users_place(stacks.frames_here(2)),
            node=str(metadata.get("langgraph_node") or ""),
            retries=0 if SELF_METERED in metadata else introspect.retries_of(model),
            without_usage=stream and not _is_asked_for_usage(model, arguments),
        )
        _log.add(call)
    usage = {"input_tokens": tokens, "output_tokens": output, "total_tokens": tokens + output}
    return answer(messages, arguments, usage)


def _is_asked_for_usage(model: BaseChatModel, arguments: Any) -> bool:
    """Whether a stream of this call would end with its usage; classes without such a setting always ask."""
    if "stream_usage" not in type(model).model_fields:
        return True
    return bool(
        arguments.get("stream_usage") or arguments.get("stream_options") or getattr(model, "stream_usage", None)
    )


def _is_metered(manager: Any) -> bool:
    handlers = getattr(manager, "handlers", None) or []
    return current() is not None or any(isinstance(handler, GoverningHandler) for handler in handlers)


class _Fake:
    """Marks fake models, and has the methods that their classes override."""

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        model: Any = self
        message = _answer(model, messages, run_manager, kwargs, stream=False)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        model: Any = self
        message = _answer(model, messages, run_manager, kwargs, stream=False)
        return ChatResult(generations=[ChatGeneration(message=message)])


class _FakeStream(_Fake):
    """For classes that stream: the answer as one chunk."""

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        yield _chunk(_answer(self, messages, run_manager, kwargs, stream=True))  # type: ignore[arg-type]

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        yield _chunk(_answer(self, messages, run_manager, kwargs, stream=True))  # type: ignore[arg-type]


def _chunk(message: Any) -> ChatGenerationChunk:
    chunk = AIMessageChunk(
        content=message.content,
        tool_calls=message.tool_calls,
        usage_metadata=message.usage_metadata,
        additional_kwargs=message.additional_kwargs,
        chunk_position="last",
    )
    return ChatGenerationChunk(message=chunk)


@lru_cache(maxsize=100_000)
def _fake_class(kind: type[Any]) -> type[Any] | None:
    """The class of the fake that takes the place of a model or tool of this class; None for anything else."""
    if issubclass(kind, BaseChatModel) and not issubclass(kind, _Fake):
        return _fake_model_class(kind)
    if issubclass(kind, BaseTool) and not issubclass(kind, _FakeTool):
        return _disguised(_FakeTool, kind, {})
    return None


def _fake_model_class(base: type[Any]) -> type[Any]:
    streams = base._stream is not BaseChatModel._stream or base._astream is not BaseChatModel._astream
    # Native protocol streaming would go past the methods of the fake.
    body = {"_stream_chat_model_events": None, "_astream_chat_model_events": None}
    return _disguised(_FakeStream if streams else _Fake, base, body)


class _FakeTool:
    """Marks fake tools."""

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        return _tool_answer(self)

    async def _arun(self, *args: Any, **kwargs: Any) -> Any:
        return _tool_answer(self)


def _tool_answer(tool: Any) -> Any:
    if _log is not None:
        _log.tools.add(tool.name)
    text = "This tool was not run by the doctor."
    return (text, None) if tool.response_format == "content_and_artifact" else text


def _disguised(fake: type, base: type[Any], body: dict[str, Any]) -> type[Any]:
    """A subclass of the model's or tool's own class that looks like it."""
    names = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__}
    metaclass: Any = type(base)
    made: type[Any] = metaclass(base.__name__, (fake, base), {**names, "__annotations__": {}, **body})
    return made
