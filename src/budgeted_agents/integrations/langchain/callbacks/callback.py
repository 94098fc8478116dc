"""``CostCallback``: an existing LangChain or LangGraph application, metered or kept inside a budget, by one handler.

    chain.invoke(question, {"callbacks": [CostCallback(budget=Budget(usd="0.50"), ledger="sqlite:///spend.db")]})

See docs/callback.md for what a callback can and cannot do.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from langchain_core.runnables.config import var_child_runnable_config

from budgeted_agents.budget import BudgetLike, as_policy
from budgeted_agents.budget.attribution import ambient, checked
from budgeted_agents.errors import BudgetExceeded, InvalidBudget
from budgeted_agents.integrations.langchain.callbacks.handler import GoverningHandler
from budgeted_agents.integrations.langchain.governance.configs import named_session, namespace, session_of
from budgeted_agents.integrations.langchain.governance.governance import Governance
from budgeted_agents.integrations.langchain.governance.in_force import current
from budgeted_agents.integrations.langchain.governance.spending import session_report
from budgeted_agents.ledgers import LedgerLike
from budgeted_agents.meter import BillingTable, Listener, Run, new_id, open_meter
from budgeted_agents.prices import PriceBook
from budgeted_agents.reports import SpendReport
from budgeted_agents.traces import Recorder
from budgeted_agents.traces.records.journal import JournalLike

Holding = Literal["worst", "expected"]

MOST_SESSIONS = 4_096
"""Sessions whose recent past (answer lengths, tiers) is remembered at a time. Their money is in the ledger."""


class CostCallback(GoverningHandler):
    """Meters every model and tool call it sees; with a budget, it holds money before each and stops what does not fit.

    Use it in ``config={"callbacks": [...]}``, on a model (``callbacks=[...]``), or for a whole process
    (``govern_app``). One instance may be shared by any number of chains, threads and tasks.

    Calls belong to the session given here, else to the one the call names (``metadata["session"]``, or the
    ``thread_id`` of its config), else to the one an enclosing ``attribute(session=...)`` names, else to a session of
    this very instance.

    Args:
        budget: one ``Budget``, several, or a policy file; None to meter only.
        ledger: where money is kept: a ledger, a URL (``"sqlite:///spend.db"``), or None for one in memory.
        session: the session of every call; None to go by the call.
        prices: what models cost; by default, LiteLLM's list.
        listeners: called with every ``BudgetEvent`` (alerts, refusals, overruns, unmetered answers, ...).
        attribution: dimensions that hold for every call, e.g. ``{"workflow": "research"}``.
        hold: ``"worst"`` holds the dearest a call can get, so that a cap is never exceeded. ``"expected"`` holds an
            answer of the length expected here (twice the longest so far, 256 to 1,024 tokens), so that more calls fit
            at a time: streams are cut where they run past that and no more can be held, other calls may overrun.
        billing: which failures are certainly unbilled.
        journal: where calls are written down: a folder, False for nowhere, None for beside a ledger in a file.
        recorders: what else records calls, e.g. an ``OpenTelemetryRecorder``.

    Raises:
        InvalidBudget, InvalidPolicy, InvalidLedger, InvalidAttribution: saying what is wrong and where.
    """

    def __init__(
        self,
        *,
        budget: BudgetLike = None,
        ledger: LedgerLike = None,
        session: str | None = None,
        prices: PriceBook | None = None,
        listeners: Sequence[Listener] = (),
        attribution: Mapping[str, str] | None = None,
        hold: Holding = "worst",
        billing: BillingTable | None = None,
        journal: JournalLike = None,
        recorders: Sequence[Recorder] = (),
    ) -> None:
        if hold not in ("worst", "expected"):
            remedy = 'Write hold="worst" or hold="expected"'
            raise InvalidBudget("is no way to hold", field="hold", value=hold, place="CostCallback", remedy=remedy)
        policy = as_policy(budget).without_landing()  # a callback has no finalizer
        self._attribution = checked(attribution or {}, place="CostCallback(attribution=)")
        self._session = None if session is None else checked({"session": session}, place="CostCallback")["session"]
        self.expected = hold == "expected"
        self.meter = open_meter(
            policy,
            place="CostCallback",
            ledger=ledger,
            prices=prices,
            listeners=listeners,
            billing=billing,
            journal=journal,
            recorders=recorders,
        )
        super().__init__(self.meter)
        self._own_session = new_id()
        self._latest = self._session or self._own_session
        self._sessions: OrderedDict[str, Governance] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def spend(self) -> SpendReport:
        """What the session has spent so far, and why. Where one callback serves several sessions, the latest one's."""
        return self.spend_of(self._latest)

    def spend_of(self, session: str) -> SpendReport:
        """What a session (a ``thread_id``) has spent so far, and why."""
        return session_report(self.meter, session)

    def governance_of(self, metadata: dict[str, Any]) -> Governance:
        session = self._latest = self._session or self._session_of(metadata)
        return self._sessions.get(session) or self._opened(session)

    def _session_of(self, metadata: Mapping[str, Any]) -> str:
        named = named_session(metadata, metadata)
        return named or session_of(var_child_runnable_config.get()) or ambient().get("session") or self._own_session

    def _opened(self, session: str) -> Governance:
        with self._lock:
            known = self._sessions.get(session)
            if known is None:
                known = self._sessions[session] = _Callback(self.meter, Run(new_id(), session, self._attribution))
                if len(self._sessions) > MOST_SESSIONS:
                    self._sessions.popitem(last=False)
            return known


class _Callback(Governance):
    """Governance by a callback. Inside LangGraph a refusal is an interrupt, so that siblings keep their work, or what
    the run around it makes of it; anywhere else it is a plain exception."""

    def refuse(self, error: BudgetExceeded, metadata: Mapping[str, Any]) -> BaseException:
        around, budget = current(), self.meter.policy.by_name.get(error.budget)
        way = budget.on_exhausted if budget is not None else "land"
        is_in_graph = "langgraph_node" in metadata
        if around is not None and way == "land" and is_in_graph:
            return around.refuse(error, metadata)
        if around is not None:  # a governed graph has to recognize the refusal when LangGraph has merged it with others
            around.refusals.append((namespace(metadata), error))
        if way == "raise" or not is_in_graph:
            return error
        from budgeted_agents.integrations.langchain.governance.interrupts import BudgetInterrupt  # LangGraph is loaded

        return BudgetInterrupt(error)
