"""``budgeted_embeddings``: embeddings under a budget. langchain-core gives embeddings no callbacks, so no handler sees
them: not in a vector store, not in a retriever. The model itself has to be wrapped, where it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from langchain_core.embeddings import Embeddings

from budgeted_agents.errors import BudgetExceeded, InvalidGraph
from budgeted_agents.estimate import tokenizer_for
from budgeted_agents.governor import ModelCall, Quote
from budgeted_agents.integrations.langchain.callbacks.callback import CostCallback
from budgeted_agents.integrations.langchain.calls.quoting import price_of
from budgeted_agents.integrations.langchain.governance.configs import ambient_metadata
from budgeted_agents.integrations.langchain.governance.governance import Governance
from budgeted_agents.integrations.langchain.governance.in_force import current, landing_budgets, may_block
from budgeted_agents.meter import Admission, Steps, admit, adrive, drive, fail, settle
from budgeted_agents.prices import Price
from budgeted_agents.usage import Usage

EmbeddingsT = TypeVar("EmbeddingsT", bound=Embeddings)

_CALLBACK, _RAW = "_budgeted_agents_callback", "_budgeted_agents_given"
"""Attributes of a governed copy: the callback it falls back to, and the model it was made from."""


def budgeted_embeddings(model: EmbeddingsT, callback: CostCallback | None = None) -> EmbeddingsT:
    """Embeddings of the same class whose calls are metered, and stopped where they do not fit.

    They are charged to whatever governs the place they are called in (``BudgetedGraph`` and the like), else to
    ``callback``; where there is neither, they run as they are. The answer of an embedding model brings no usage to
    LangChain, so its tokens are counted here and the record is flagged ``estimated``.

    Args:
        model: the embeddings, e.g. ``OpenAIEmbeddings()``; it is left as it is.
        callback: what governs calls outside of governed graphs; share it with the chain's own.

    Raises:
        InvalidGraph: it is given something else than embeddings.
    """
    if not isinstance(model, Embeddings):
        remedy = "Pass the embeddings that the vector store is made with"
        raise InvalidGraph("are no embeddings", field="model", value=model, place="budgeted_embeddings", remedy=remedy)
    twin = object.__new__(_governed_class(type(model)))
    twin.__dict__.update(model.__dict__)
    for name in ("__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__"):
        if hasattr(model, name):
            object.__setattr__(twin, name, getattr(model, name))
    twin.__dict__.update({_CALLBACK: callback, _RAW: model})
    return twin  # type: ignore[no-any-return]


@lru_cache(maxsize=64)
def _governed_class(base: type[Embeddings]) -> Any:
    """A subclass of an embeddings class that meters its calls, and looks like it."""

    def embed_documents(self: Any, texts: list[str], *args: Any, **kwargs: Any) -> Any:
        with _EmbeddingCall(self, texts) as given:
            return given.embed_documents(texts, *args, **kwargs)

    def embed_query(self: Any, text: str, *args: Any, **kwargs: Any) -> Any:
        with _EmbeddingCall(self, [text]) as given:
            return given.embed_query(text, *args, **kwargs)

    async def aembed_documents(self: Any, texts: list[str], *args: Any, **kwargs: Any) -> Any:
        async with _EmbeddingCall(self, texts) as given:
            return await given.aembed_documents(texts, *args, **kwargs)

    async def aembed_query(self: Any, text: str, *args: Any, **kwargs: Any) -> Any:
        async with _EmbeddingCall(self, [text]) as given:
            return await given.aembed_query(text, *args, **kwargs)

    methods = (embed_documents, aembed_documents, embed_query, aembed_query)
    body: dict[str, Any] = {method.__name__: method for method in methods}
    named = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__}
    metaclass: Any = type(base)
    return metaclass(base.__name__, (base,), {**named, **body})


class _EmbeddingCall:
    """One call: held on entry, settled on exit. Entering it gives the model to call."""

    def __init__(self, model: Any, texts: Sequence[str]) -> None:
        callback: CostCallback | None = model.__dict__[_CALLBACK]
        self._given: Any = model.__dict__[_RAW]
        self._metadata = dict(ambient_metadata())
        self._governance = current() or (callback.governance_of(self._metadata) if callback else None)
        self._texts = texts
        self._open: tuple[Admission, Price] | None = None

    def __enter__(self) -> Any:
        if self._governance is not None:
            self._open = drive(self._admitted(self._governance, may_block))
        return self._given

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._governance is not None:
            drive(self._ended(self._governance, error))

    async def __aenter__(self) -> Any:
        if self._governance is not None:
            blocking = self._governance.meter.ledger.blocking
            self._open = await adrive(self._admitted(self._governance, lambda: True), blocking=blocking)
        return self._given

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._governance is not None:
            blocking = self._governance.meter.ledger.blocking
            await adrive(self._ended(self._governance, error), blocking=blocking)

    def _admitted(self, governance: Governance, may_wait: Callable[[], bool]) -> Steps[tuple[Admission, Price]]:
        name = _model_name(self._given)
        price = price_of(governance, name, None)
        tokens = sum(map(tokenizer_for(name).count, self._texts))
        bound = governance.meter.margins.bound(name, tokens)
        base, _ = price.worst_case(bound)
        model_class = governance.meter.policy.model_class(name)
        quote = Quote(0, name, model_class, bound, tokens, base, rate=0, output_limit=0)
        who = governance.attribution(self._metadata)
        landing = landing_budgets()
        call = ModelCall(who, (quote,), 0, clampable=False, landing=landing, operation="embeddings")
        try:
            admission = yield from admit(governance.meter, governance.run, call, may_wait=may_wait)
        except BudgetExceeded as refusal:
            raise governance.refuse(refusal, self._metadata) from None
        return admission, price

    def _ended(self, governance: Governance, error: BaseException | None) -> Steps[Any]:
        assert self._open is not None, "entered first"
        admission, price = self._open
        if error is not None:
            return (yield from fail(governance.meter, admission, error, price, answered=False))
        usage = Usage(input=admission.way.quote.estimate)
        return (yield from settle(governance.meter, admission, usage, price, flags=("estimated",)))


def _model_name(model: Embeddings) -> str:
    names = (getattr(model, field, None) for field in ("model", "model_name", "model_id", "deployment"))
    return next((name for name in names if isinstance(name, str) and name), type(model).__name__)
