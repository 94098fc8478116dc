"""``budgeted_model``: a real chat model that stays inside the budget of whatever runs it.

The model handed back is of the same class as the first one given, so that ``isinstance``, ``bind_tools``,
``with_structured_output``, tracing and caching go on as before. Only what is sent to a provider is conducted: each
call is reserved, clamped, stepped down, settled. Outside a budget the first model is called as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.configurable import RunnableConfigurableFields
from langchain_core.runnables.utils import AnyConfigurableField
from pydantic import PrivateAttr

from budgeted_agents.errors import InvalidGraph
from budgeted_agents.integrations.langchain.calls import introspect
from budgeted_agents.integrations.langchain.calls.answers import is_complete
from budgeted_agents.integrations.langchain.calls.quoting import Tier
from budgeted_agents.integrations.langchain.governance.configs import ambient_metadata
from budgeted_agents.integrations.langchain.governance.governance import SELF_METERED, Governance
from budgeted_agents.integrations.langchain.models.conductor import conductor, told_its_run_id
from budgeted_agents.integrations.langchain.models.governed_call import GovernedCall
from budgeted_agents.meter import adrive, drive

ModelLike = str | BaseChatModel

_METHODS = ("_generate", "_agenerate", "_stream", "_astream")
_NATIVE_STREAMS = ("_stream_chat_model_events", "_astream_chat_model_events")


def budgeted_model(*models: ModelLike, **settings: Any) -> BaseChatModel:
    """A chat model that steps down through ``models`` (best first) as its budget runs low.

    Args:
        models: LiteLLM names (``"openai/gpt-4o"``) or chat models of any class. Names are called through LiteLLM,
            which is imported at the first call.
        settings: for the models given by name, as ``ChatLiteLLM`` takes them (``api_base``, ``temperature``,
            ``max_tokens``, ``max_retries``, ...).

    Returns:
        A model of the first one's class. Inside ``BudgetedGraph``, ``budgeted(...)`` or another governed run its calls
        are reserved, clamped to what the money buys, pruned to the cap on context, and settled; anywhere else it calls
        the first model as it is.

    Raises:
        InvalidGraph: no model is given, or something that is none.
    """
    if not models:
        raise _invalid("no model is given", models)
    found = [_chat_model(model, settings) for model in models]
    return governed(found)


def governed(models: Sequence[BaseChatModel]) -> BaseChatModel:
    """The first model, conducted; the others are what it may step down to."""
    first = models[0]
    retries = max((introspect.retries_of(model) for model in models), default=0)
    copy = first.model_copy()
    object.__setattr__(copy, "__class__", _governed_class(type(first)))
    private = dict(getattr(copy, "__pydantic_private__", None) or {})
    tiers = tuple(Tier.of(model, instead=place > 0) for place, model in enumerate(models))
    private |= {"_tiers": tiers, "_retries": retries}
    object.__setattr__(copy, "__pydantic_private__", private)
    return copy


def tiers_of(model: BaseChatModel) -> tuple[Tier, ...]:
    """The tiers of a governed model; of any other model, itself alone."""
    tiers = (getattr(model, "__pydantic_private__", None) or {}).get("_tiers")
    return tiers if isinstance(tiers, tuple) else (Tier.of(model),)


def is_governed(model: object) -> bool:
    return isinstance(model, BaseChatModel) and "_tiers" in (getattr(model, "__pydantic_private__", None) or {})


def with_first(model: BaseChatModel, changed: BaseChatModel) -> BaseChatModel:
    """A governed model with other settings of its first tier: those of a changed copy, which is used up."""
    own = type(tiers_of(model)[0].given)
    object.__setattr__(changed, "__class__", own)
    private = dict(getattr(changed, "__pydantic_private__", None) or {})
    for name in ("_tiers", "_retries"):
        private.pop(name, None)
    object.__setattr__(changed, "__pydantic_private__", private if own.__private_attributes__ else None)
    return governed([changed, *(tier.given for tier in tiers_of(model)[1:])])


class _ConfigurableFields(RunnableConfigurableFields):  # type: ignore[type-arg]  # subscripted, it cannot be made
    """A governed model some fields of which are given with the config of a call."""

    def _prepare(self, config: RunnableConfig | None = None) -> tuple[Runnable[Any, Any], RunnableConfig]:
        made, config = super()._prepare(config)
        if made is self.default:
            return made, config
        return with_first(cast("BaseChatModel", self.default), cast("BaseChatModel", made)), config


def _chat_model(model: ModelLike, settings: Mapping[str, Any]) -> BaseChatModel:
    if not isinstance(model, str | BaseChatModel):
        raise _invalid("is neither a LiteLLM name nor a chat model", model)
    if isinstance(model, BaseChatModel):
        return tiers_of(model)[0].given if is_governed(model) else model
    if model.strip():
        from budgeted_agents.integrations.litellm import chat_model

        return chat_model(model, **settings)
    raise _invalid("is an empty name", model)


def _invalid(problem: str, value: object) -> InvalidGraph:
    remedy = 'Write budgeted_model("openai/gpt-4o", "openai/gpt-4o-mini"), best first, or pass chat models'
    return InvalidGraph(problem, field="models", value=value, place="budgeted_model", remedy=remedy)


class _Conducted:
    """The methods a governed class overrides; each only calls, the order of steps is ``GovernedCall``'s."""

    _tiers: tuple[Tier, ...]
    __pydantic_private__: Mapping[str, Any]

    def _governed_call(
        self, governance: Governance, messages: list[BaseMessage], kwargs: Any, manager: Any
    ) -> GovernedCall:
        metadata = getattr(manager, "metadata", None) or ambient_metadata()
        own = self.__pydantic_private__  # pydantic takes long to find a private attribute by its name
        return GovernedCall(governance, own["_tiers"], messages, kwargs, metadata, own["_retries"], manager)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        governance = conductor(run_manager)
        if governance is None:
            return self._tiers[0].given._generate(messages, stop=stop, run_manager=run_manager, **kwargs)
        call = self._governed_call(governance, messages, kwargs, run_manager)
        while True:
            target = drive(call.open(may_wait=_off_event_loop))
            try:
                result = target.model._generate(target.messages, stop=stop, run_manager=run_manager, **target.kwargs)
            except BaseException as error:
                if drive(call.abort(error)):
                    continue
                raise
            drive(call.close([generation.message for generation in result.generations], result.llm_output))
            return result

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        governance = conductor(run_manager)
        if governance is None:
            return await self._tiers[0].given._agenerate(messages, stop=stop, run_manager=run_manager, **kwargs)
        blocking = governance.meter.ledger.blocking
        call = self._governed_call(governance, messages, kwargs, run_manager)
        while True:
            target = await adrive(call.open(), blocking=blocking)
            try:
                result = await target.model._agenerate(
                    target.messages, stop=stop, run_manager=run_manager, **target.kwargs
                )
            except BaseException as error:
                if await adrive(call.abort(error), blocking=blocking):
                    continue
                raise
            closing = call.close([generation.message for generation in result.generations], result.llm_output)
            await adrive(closing, blocking=blocking)
            return result


class _ConductedStream(_Conducted):
    """Streaming, for classes that stream. An attempt is made again only while nothing has come yet."""

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        governance = conductor(run_manager)
        if governance is None:
            yield from self._tiers[0].given._stream(messages, stop=stop, run_manager=run_manager, **kwargs)
            return
        call = self._governed_call(governance, messages, kwargs, run_manager)
        received: list[BaseMessage] = []
        while True:
            target = drive(call.open(may_wait=_off_event_loop))
            try:
                for chunk in target.model._stream(target.messages, stop=stop, run_manager=run_manager, **target.kwargs):
                    received.append(chunk.message)
                    drive(call.alive())
                    yield chunk
            except BaseException as error:
                if drive(_ended(call, error, received)):
                    continue
                raise
            drive(call.close(received))
            return

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        governance = conductor(run_manager)
        if governance is None:
            async for chunk in self._tiers[0].given._astream(messages, stop=stop, run_manager=run_manager, **kwargs):
                yield chunk
            return
        blocking = governance.meter.ledger.blocking
        call = self._governed_call(governance, messages, kwargs, run_manager)
        received: list[BaseMessage] = []
        while True:
            target = await adrive(call.open(), blocking=blocking)
            try:
                async for chunk in target.model._astream(
                    target.messages, stop=stop, run_manager=run_manager, **target.kwargs
                ):
                    received.append(chunk.message)
                    await adrive(call.alive(), blocking=blocking)
                    yield chunk
            except BaseException as error:
                if await adrive(_ended(call, error, received), blocking=blocking):
                    continue
                raise
            await adrive(call.close(received), blocking=blocking)
            return


def _off_event_loop() -> bool:
    """Whether this thread is no event loop's: to wait in one would keep the calls waited for from ending."""
    return asyncio._get_running_loop() is None


def _ended(call: GovernedCall, error: BaseException, received: list[BaseMessage]) -> Any:
    """The steps for a stream that broke off: settled if only its end was missed, else presumed."""
    if is_complete(received):
        return _settled(call, received)
    return call.abort(error, received)


def _settled(call: GovernedCall, received: list[BaseMessage]) -> Any:
    yield from call.close(received, whole=False)
    return False


@lru_cache(maxsize=256)
def _governed_class(base: type[BaseChatModel]) -> type[BaseChatModel]:
    """A subclass of the model's own class that conducts its calls, and looks like it in traces and type checks."""
    streams = base._stream is not BaseChatModel._stream or base._astream is not BaseChatModel._astream
    conducted = _ConductedStream if streams else _Conducted
    names = [name for name in _METHODS if hasattr(conducted, name)]
    if base._stream is BaseChatModel._stream and "_stream" in names:
        names.remove("_stream")  # an asynchronous-only model stays one

    def _get_ls_params(self: Any, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {**base._get_ls_params(self, stop=stop, **kwargs), SELF_METERED: True}

    def model_copy(self: Any, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Any:
        copied = base.model_copy(self, update=update, deep=deep)
        return with_first(self, copied) if update else copied

    def configurable_fields(self: Any, **fields: AnyConfigurableField) -> Any:
        base.configurable_fields(self, **fields)  # checks them
        return _ConfigurableFields(default=self, fields=fields)

    body: dict[str, Any] = {name: vars(conducted).get(name) or getattr(conducted, name) for name in names}
    body |= told_its_run_id(base)
    body |= {
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "__annotations__": {"_tiers": tuple, "_retries": int, **dict.fromkeys(_NATIVE_STREAMS, ClassVar[Any])},
        "_tiers": PrivateAttr(default=()),
        "_retries": PrivateAttr(default=0),
        "_governed_call": _Conducted._governed_call,
        "_get_ls_params": _get_ls_params,
        "model_copy": model_copy,
        "configurable_fields": configurable_fields,
        # Native protocol streaming would go past the methods above; the bridge over _stream is used instead.
        **dict.fromkeys(_NATIVE_STREAMS),
    }
    metaclass: Any = type(base)
    made: type[BaseChatModel] = metaclass(base.__name__, (base,), body)
    return made
