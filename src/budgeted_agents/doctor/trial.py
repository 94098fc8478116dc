"""A trial: some turns of an application on fake models, without a network, on ledgers of its own."""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.errors import GraphRecursionError

from budgeted_agents.budget import Budget, Policy
from budgeted_agents.doctor.fakes import Answered, Enough, fakes_in_place
from budgeted_agents.doctor.loading import Sent
from budgeted_agents.doctor.network import Contact, blocked
from budgeted_agents.doctor.storage import empty_storage
from budgeted_agents.errors import BudgetExceeded, UnknownPrice
from budgeted_agents.estimate import Margins
from budgeted_agents.governor import Plans
from budgeted_agents.ledgers import Balance, Ledger, MemoryLedger
from budgeted_agents.ledgers.units import MODEL_CALLS, TOKENS, USD
from budgeted_agents.ledgers.urls import place_of
from budgeted_agents.meter import Meter
from budgeted_agents.prices import PriceBook
from budgeted_agents.reports.spend import charged_usd, noted
from budgeted_agents.usage import Usage

SPEND_LIMITS = (USD, TOKENS, MODEL_CALLS)
"""Limits that a trial can cut."""

THREAD = "doctor"
RECURSION_LIMIT = 50

Cut = Callable[[Budget], Budget]
"""What becomes of each budget for a trial."""


class View:
    """A trial's ledger as one meter has it: it knows whether that meter has been at work."""

    blocking = False

    def __init__(self, ledger: MemoryLedger, url: str) -> None:
        self.ledger = ledger
        self.url = url
        self.is_used = False

    def __getattr__(self, verb: str) -> Any:
        self.is_used |= verb in ("reserve", "note")
        return getattr(self.ledger, verb)


@dataclass(frozen=True)
class Used:
    """A meter that may be at work in a trial: its own policy and ledger, and its view of the trial's ledger."""

    policy: Policy
    ledger: Ledger
    prices: PriceBook
    view: View


@dataclass(frozen=True)
class Trial:
    """What an application did.

    Attributes:
        answered: the calls that fakes answered.
        contacts: what it tried to reach beside them.
        tools: tools that were asked for and not run.
        nodes: nodes of the graph that were run.
        failure: what it raised, but refusals.
        ending: how the last turn ended, for people.
        used: the meters that were at work.
    """

    answered: tuple[Answered, ...]
    contacts: tuple[Contact, ...]
    tools: frozenset[str]
    nodes: frozenset[str]
    failure: BaseException | None
    ending: str
    used: tuple[Used, ...]

    @property
    def ledgers(self) -> list[MemoryLedger]:
        """The ledgers that were charged, each once."""
        return list({id(used.view.ledger): used.view.ledger for used in self.used}.values())

    @property
    def refusals(self) -> list[str]:
        return notes(self.ledgers, "refusal")

    @property
    def balances(self) -> list[Balance]:
        return [balance for ledger in self.ledgers for balance in ledger.balances(ledger.accounts())]

    @property
    def budgets(self) -> list[Budget]:
        return [budget for used in self.used for budget in used.policy.budgets]

    @property
    def cost(self) -> int:
        """Nano-USD that a provider would have billed for all answers."""
        return sum(map(self.cost_of, self.answered))

    @property
    def charged(self) -> int:
        """Nano-USD that the ledgers were charged."""
        return sum(charged_usd(entry.charged) for ledger in self.ledgers for entry in ledger.entries())

    def cost_of(self, call: Answered) -> int:
        """Nano-USD for one answer; 0 if its model has no price."""
        prices = self.used[0].prices if self.used else PriceBook.default()
        try:
            price = prices.price(call.model, call.provider)
        except UnknownPrice:
            return 0
        return price.cost(Usage(input=call.input_tokens, output=call.output_tokens))

    @property
    def counts_money(self) -> bool:
        """Whether some budget counts USD, so that its ledger knows what calls cost."""
        return any(balance.account.unit == USD for balance in self.balances)

    @property
    def limits_spend(self) -> bool:
        """Whether some budget refuses calls for what they spend."""
        return any(balance.account.unit in SPEND_LIMITS for balance in self._enforced)

    @property
    def overspent(self) -> list[Balance]:
        return [balance for balance in self._enforced if balance.available < 0]

    @property
    def _enforced(self) -> list[Balance]:
        shadows = {budget.name for budget in self.budgets if budget.shadow}
        return [balance for balance in self.balances if balance.account.budget not in shadows]


def notes(ledgers: Iterable[MemoryLedger], kind: str) -> list[str]:
    """What was noted of a kind in all ledgers."""
    return [message for ledger in ledgers for message in noted(ledger.notes(), kind)]


def run_trial(app: Runnable[Any, Any], sent: Sent, cut: Cut, *, turns: int = 1, run_tools: bool = False) -> Trial:
    """Run an application for some turns on one thread, or until something is refused.

    Args:
        app: it is left as it is: while it runs, its checkpoints and stores are empty, and its caches are off.
        sent: what to send, each turn.
        cut: what each of its budgets becomes.
    """
    with (
        trial_meters(cut) as meters,
        empty_storage(),
        blocked() as blockade,
        fakes_in_place(run_tools=run_tools) as fakes,
    ):
        config: RunnableConfig = {
            "recursion_limit": RECURSION_LIMIT,
            **sent.config,
            "configurable": {"thread_id": THREAD, **sent.config.get("configurable", {})},
            "callbacks": [fakes],
        }
        ledgers = list({id(used.view.ledger): used.view.ledger for used in meters}.values())
        session = _Session(app, sent, config, ledgers)

        async def converse() -> str:
            blockade.loop = asyncio.get_running_loop()
            return await session.converse(turns)

        try:
            ending = asyncio.run(converse())
        except SystemExit as error:  # passes by every handler on the loop; it must not end the doctor in silence
            session.failure, ending = error, "the run ended the process"
        blockade.loop = None
        used = tuple(meter for meter in meters if meter.view.is_used)
        log = fakes.log
        return Trial(
            answered=tuple(log.answered),
            contacts=tuple(dict.fromkeys(blockade.contacts)),
            tools=frozenset(log.tools),
            nodes=frozenset(log.nodes),
            failure=session.failure,
            ending=ending,
            used=used,
        )


@dataclass
class _Session:
    """A conversation with the application."""

    app: Runnable[Any, Any]
    sent: Sent
    config: RunnableConfig
    ledgers: list[MemoryLedger]
    failure: BaseException | None = None

    async def converse(self, turns: int) -> str:
        ending = ""
        for _ in range(turns):
            ending = await self._turn()
            if self.failure is not None or notes(self.ledgers, "refusal"):
                break
        return ending

    async def _turn(self) -> str:
        try:
            given = {} if self.sent.context is None else {"context": self.sent.context}
            await self.app.ainvoke(self.sent.input, self.config, **given)
        except BudgetExceeded:
            return "the run raised BudgetExceeded"
        except GraphRecursionError:
            return f"the run was stopped after {self.config['recursion_limit']} steps"
        except Exception as error:  # noqa: BLE001 -- whatever the application raises is a finding
            if _caused_by(error, Enough):
                return "the run was stopped: it goes on and on"
            self.failure = error
            return f"the run failed ({type(error).__name__})"
        return self._ending()

    def _ending(self) -> str:
        landings = notes(self.ledgers, "landing")
        if landings:
            return f"the run {landings[-1][:1].lower()}{landings[-1][1:]}"
        refused = notes(self.ledgers, "refusal")
        return "the run stopped there and can be resumed" if refused else "the run ended by itself"


def _caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def trial_meters(cut: Cut) -> Iterator[list[Used]]:
    """Every meter that is alive works on an empty ledger in memory, with cut budgets and without listeners and
    recorders, inside the block. Meters that share a ledger share one here as well."""
    found = [each for each in gc.get_objects() if type(each) is Meter]
    before = [dict(vars(meter)) for meter in found]
    ledgers: dict[object, MemoryLedger] = {}
    used = [Used(meter.policy, meter.ledger, meter.prices, _view(meter.ledger, ledgers)) for meter in found]
    try:
        for meter, own in zip(found, used, strict=True):
            meter.policy = Policy(tuple(map(cut, meter.policy.budgets)), meter.policy.model_classes)
            meter.plans = Plans(meter.policy)
            meter.ledger, meter.listeners, meter.recorders = cast("Ledger", own.view), (), ()
            meter.unsettled, meter.margins = deque(), Margins()
        yield used
    finally:
        for meter, attributes in zip(found, before, strict=True):
            vars(meter).update(attributes)


def _view(ledger: Ledger, ledgers: dict[object, MemoryLedger]) -> View:
    """A view of the trial's ledger in the place of this one. Ledgers in memory without a name each keep their own."""
    place = place_of(ledger.url)
    kept = id(ledger) if place == "memory://" else place
    trial = ledgers.setdefault(kept, MemoryLedger())
    return View(trial, place if place == "memory://" else f"memory://trial-of-{place}")
