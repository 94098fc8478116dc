"""The models an agent may be answered by: the one it asks for, then the cheaper ones it may step down to."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.language_models import BaseChatModel

from budgeted_agents.integrations.langchain.calls import introspect
from budgeted_agents.integrations.langchain.calls.quoting import Tier
from budgeted_agents.integrations.langchain.models.governed_model import (
    ModelLike,
    budgeted_model,
    governed,
    is_governed,
    tiers_of,
)

_MOST_KNOWN = 64
"""Models an agent is remembered to have asked for; one that makes a new one at every call must not fill the memory."""


class StepDown:
    """Makes a governed model of each model an agent asks for, once.

    Args:
        models: what may be stepped down to, best first. One the agent asks for itself may be among them: then those
            behind it are meant.
    """

    def __init__(self, models: Sequence[ModelLike]) -> None:
        self._tiers: tuple[Tier, ...] = tiers_of(budgeted_model(*models)) if models else ()
        self._known: dict[int, tuple[BaseChatModel, BaseChatModel]] = {}

    def governed(self, asked: BaseChatModel) -> BaseChatModel:
        """The model asked for, conducted, with what it may step down to. One that is made only when it is called
        (``init_chat_model`` with configurable fields) is left as it is: its calls are seen by the run's handler."""
        if not isinstance(asked, BaseChatModel):
            return asked
        known = self._known.get(id(asked))
        if known is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            known = self._known[id(asked)] = (asked, self._made(asked))  # kept alive, so that its id stays its own
        return known[1]

    def _made(self, asked: BaseChatModel) -> BaseChatModel:
        own = [tier.given for tier in tiers_of(asked)]
        cheaper = [tier.given for tier in self._behind(own)]
        return asked if is_governed(asked) and not cheaper else governed([*own, *cheaper])

    def _behind(self, own: Sequence[BaseChatModel]) -> Sequence[Tier]:
        names = {introspect.price_name(model)[0] for model in own}
        places = [place for place, tier in enumerate(self._tiers) if tier.name in names]
        return self._tiers[places[-1] + 1 :] if places else self._tiers
