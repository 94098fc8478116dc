"""One governed call of a chat model, from pruning to settlement: the steps that sync, async and streams share.

    begin -> [ open -> (the model is called) -> close | abort ]...   each attempt is reserved by itself

``open`` says which model to call with what; ``abort`` says whether to try again. Adapters only do the calling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from msgspec.structs import replace

from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.integrations.langchain.calls import answers, introspect
from budgeted_agents.integrations.langchain.calls.arguments import PARTICULAR, arguments_for, messages_for, tiers_for
from budgeted_agents.integrations.langchain.calls.content import ModelContent
from budgeted_agents.integrations.langchain.calls.messages import FORMAT_FIELDS
from budgeted_agents.integrations.langchain.calls.quoting import Quoted, Tier, least_effort, quote
from budgeted_agents.integrations.langchain.governance.governance import Governance
from budgeted_agents.integrations.langchain.models.conductor import gave_less
from budgeted_agents.integrations.langchain.pruning.pruning import prune
from budgeted_agents.integrations.langchain.pruning.summarizing import Summarizer
from budgeted_agents.meter import Admission, Pause, Steps, admit, fail, keep_alive, refuse_useless
from budgeted_agents.meter.outcomes import retryable
from budgeted_agents.meter.retries import pause_before_retry


@dataclass(frozen=True, slots=True)
class Target:
    """What to call: the model, its arguments, and the messages."""

    model: BaseChatModel
    kwargs: dict[str, Any]
    messages: list[BaseMessage]


@dataclass
class GovernedCall:
    """One call, and the attempts it takes.

    Attributes:
        governance: what governs it.
        tiers: the models, best first.
        messages, kwargs: as the caller gave them.
        metadata: of the config the call is made with.
        retries: how often a failure that was not billed may be tried again.
        manager: langchain-core's, of the callbacks that see the call; None if it does not say.
    """

    governance: Governance
    tiers: Sequence[Tier]
    messages: list[BaseMessage]
    kwargs: Mapping[str, Any]
    metadata: Mapping[str, Any]
    retries: int = 0
    manager: Any = None
    _tiers: Sequence[Tier] = field(default=(), init=False)
    _admission: Admission | None = field(default=None, init=False)
    _quoted: Quoted | None = field(default=None, init=False)
    _pruned: list[BaseMessage] | None = field(default=None, init=False)
    _failures: int = field(default=0, init=False)
    _gone: frozenset[str] = field(default=frozenset(), init=False)

    def open(self, *, may_wait: Callable[[], bool] = lambda: True) -> Steps[Target]:
        """Hold money for the next attempt.

        Args:
            may_wait: whether it may wait here for money that calls in flight hold and may give back.

        Raises:
            BudgetExceeded: (or what the framework makes of it) no tier fits.
            UnknownPrice: a model has no known price.
        """
        governance = self.governance
        governance.latest_tiers = self._tiers = self._available()
        attribution, caps = governance.attribution(self.metadata), governance.meter.policy.caps
        try:
            if "depth" in caps:
                yield from governance.check_depth(self.metadata, attribution)
            step = self.metadata.get("langgraph_step")
            if self._pruned is None and "context_tokens" in caps:  # another attempt sends the same
                summarizer = Summarizer(governance, self._tiers, attribution, step, self.manager)
                self._pruned = yield from prune(summarizer, self.messages, self.kwargs)
            messages = self.messages if self._pruned is None else self._pruned
            if not PARTICULAR.isdisjoint(self.kwargs):
                self._tiers = tiers_for(self.tiers, self.kwargs)
            self._quoted = quote(governance, self._tiers, messages, self.kwargs, attribution, clampable=True)
            self._admission = yield from admit(
                governance.meter, governance.run, self._quoted.call, step=step, may_wait=may_wait
            )
            if governance.meter.keeps_content:
                self._admission = replace(self._admission, content=ModelContent(messages))
        except BudgetExceeded as refusal:
            raise governance.refuse(refusal, self.metadata) from None
        first, tier = self._tiers[0], self._tiers[self._admission.way.quote.tier]
        if tier is not first:
            messages = messages_for(first.model, tier.model, messages)
        return Target(*self._called(tier, self._admission), messages)

    def _called(self, tier: Tier, admission: Admission) -> tuple[BaseChatModel, dict[str, Any]]:
        """What to call, with which arguments."""
        first = self._tiers[0]
        kwargs, price = dict(self.kwargs), self._opened()[1]
        if tier is not first:
            kwargs = arguments_for(first.model, tier.model, kwargs, thinks=price.thinks)
        if admission.call.landing and (effort := least_effort(tier, price, kwargs)):
            kwargs = introspect.with_effort(tier.model, kwargs, effort)
        limit = admission.output_limit
        if limit is None and introspect.limit_differs(tier.model, first.model, self.kwargs):
            limit = admission.granted
        return (tier.model, kwargs) if limit is None else introspect.limited(tier.model, kwargs, limit)

    def alive(self) -> Steps[None]:
        """Keep the hold of a long stream from expiring."""
        if self._admission is not None:
            self._admission = yield from keep_alive(self.governance.meter, self._admission)

    def close(
        self, messages: Sequence[BaseMessage], output: Mapping[str, Any] | None = None, *, whole: bool = True
    ) -> Steps[None]:
        """Settle with what the answer says it used; ``output`` is what it says besides its messages, and ``whole``
        whether all of it has come.

        Raises:
            BudgetExceeded: (or what the framework makes of it) the money bought so little that the answer is of no use.
        """
        admission, price = self._opened()
        tier = self._tiers[admission.way.quote.tier]
        asked_tier = introspect.service_tier(tier.model, self.kwargs) if price.varies else None
        meter = self.governance.meter
        ended = yield from answers.settle_answer(meter, admission, price, messages, output, asked_tier, whole=whole)
        is_limited = bool(admission.output_limit)
        spent = is_limited and ended.usage is not None and ended.usage.completion_tokens >= admission.granted
        if spent or tier is not self._tiers[0] or self._is_pruned or admission.call.landing:
            gave_less()
        formatted = not FORMAT_FIELDS.isdisjoint(self.kwargs)
        if is_limited and answers.is_useless(messages, formatted=formatted, spent=spent):
            yield from self._refuse_useless(admission)

    def _refuse_useless(self, admission: Admission) -> Steps[None]:
        if refusal := (yield from refuse_useless(self.governance.meter, admission)):
            raise self.governance.refuse(refusal, self.metadata)

    def abort(self, error: BaseException, received: Sequence[BaseMessage] = ()) -> Steps[bool]:
        """End an attempt that failed after this had come of its answer; True if it should be made again.

        Raises:
            BudgetExceeded: as ``close`` does.
        """
        if (carried := answers.carried_by(error)) is not None:
            yield from self.close([carried])
            return False
        admission, price = self._opened()
        if admission.content is not None:
            admission.content.answered(received, whole=False)
        record = yield from fail(self.governance.meter, admission, error, price, answered=bool(received))
        if answers.is_of_cut_off(error):
            yield from self._refuse_useless(admission)
        if record.outcome != "released":
            return False
        pause = pause_before_retry(error, self._failures, self.governance.meter.clock())
        if self._failures >= self.retries or pause is None:
            return self._goes_on_without(self._tiers[admission.way.quote.tier], error)
        yield Pause(pause)
        self._failures += 1
        return True

    @property
    def _is_pruned(self) -> bool:
        return self._pruned is not None and self._pruned is not self.messages

    def _available(self) -> Sequence[Tier]:
        """The tiers without those that have turned this call down, or an earlier one of the run for good."""
        for_good = self.governance.run.unavailable
        if not for_good and not self._gone:
            return self.tiers
        first, gone = self.tiers[0], self._gone | for_good
        return [tier for tier in self.tiers if tier is first or tier.name not in gone]

    def _goes_on_without(self, tier: Tier, error: BaseException) -> bool:
        """Whether other tiers make the call that this one has turned down: what was only to save money (there is no key
        for it, it is overloaded, or it does not take such a call) must not end the run."""
        governance = self.governance
        if tier is self._tiers[0]:
            return False
        if retryable(error):
            self._gone |= {tier.name}
            what = "this call is made"
        else:
            governance.run.unavailable.add(tier.name)
            what = "this run goes on"
        self._failures = 0
        message = f"{tier.name} turned a call down ({type(error).__name__}), so {what} without it"
        governance.meter.publish("unavailable", message, governance.run.session, run=governance.run.id)
        return True

    def _opened(self) -> tuple[Admission, Any]:
        assert self._admission is not None, "open() comes first"
        assert self._quoted is not None, "open() comes first"
        return self._admission, self._quoted.prices[self._admission.way.quote.tier]
