"""The examination: run the application with budget enough, then with too little, and say what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from langchain_core.runnables import Runnable, RunnableLambda
from langgraph.pregel import Pregel

from budgeted_agents.budget import Budget, Policy
from budgeted_agents.doctor import network, stacks
from budgeted_agents.doctor.findings import Diagnosis, Finding, Proof
from budgeted_agents.doctor.loading import Sent, sent_to
from budgeted_agents.doctor.setup import budget_findings, checkpoint_findings, ledger_findings
from budgeted_agents.doctor.trial import Cut, Trial, run_trial
from budgeted_agents.errors import UnknownPrice
from budgeted_agents.integrations.langchain.callbacks.runs import open_run
from budgeted_agents.integrations.langchain.governance.in_force import governed_by
from budgeted_agents.integrations.langgraph.compiled import budgeted
from budgeted_agents.ledgers import MemoryLedger
from budgeted_agents.meter import Meter
from budgeted_agents.money import format_usd, to_usd
from budgeted_agents.prices import PriceBook

_PARTS = (2, 10, 100, 1_000, 10_000)
"""What part of a turn's spend is left to the budgets, one trial after the other until a call is refused."""

_TURNS = 3
"""Turns of each of those trials: a budget for one call is used up by the second."""

_AMPLE = Budget(name="doctor", usd=1_000_000)
"""What an application that nothing governs is tried under."""


def examine(
    app: Runnable[Any, Any],
    *,
    name: str = "app",
    given: str | None = None,
    config: str | None = None,
    context: str | None = None,
    run_tools: bool = False,
) -> Diagnosis:
    """Run an application on fake models, without a network, and find what its budget does not hold.

    Nothing is spent, and the application's ledgers, checkpoints, stores and caches are not touched. The code of its
    nodes is run; its tools are not, unless asked for.

    Args:
        app: a compiled graph or a chain. While this runs, every model in this process is a fake.
        name: for the diagnosis.
        given: the input as JSON text; by default the simplest that the application's schema allows.
        config: further parts of the config to run it with, as JSON text, e.g. ``configurable`` and ``metadata``.
        context: the context to run a graph with, as JSON text; by default the simplest that its ``context_schema``
            allows, where there is one.
        run_tools: run the tools as well, with whatever they do.

    Raises:
        InvalidGraph: ``given``, ``config`` or ``context`` is not JSON, or nothing that the application can be run with.
    """
    sent = sent_to(app, given, config, context)
    probe = run_trial(app, sent, _patient, run_tools=run_tools)
    findings = list(_setup_findings(app, probe))
    if probe.answered and not probe.used:
        findings.append(_ungoverned(app))
        app = _governed(app)
        probe = run_trial(app, sent, _patient, run_tools=run_tools)
    findings += [*_call_findings(probe), *_contact_findings(probe), *_run_findings(app, probe)]
    proof = _prove(app, sent, probe, run_tools)
    if proof is not None and not proof.holds:
        remedy = "Look at the errors above; if there are none, this is a bug of this library: please report it"
        findings.append(Finding("error", "cap-not-held", "The cap was not shown to hold", name, remedy))
    return Diagnosis.of(name, findings, proof)


def _prove(app: Runnable[Any, Any], sent: Sent, probe: Trial, run_tools: bool) -> Proof | None:
    """Cut the budgets below what a turn takes, further until something is refused: a cheaper tier may go far."""
    if not probe.refusals and not (probe.answered and probe.limits_spend):
        return None
    trial, budget = probe, "what it has now"
    for part in _PARTS:
        if trial.refusals:
            break
        scarce, budget = _part_of(probe, part)
        trial = run_trial(app, sent, scarce, turns=_TURNS, run_tools=run_tools)
    return Proof(
        calls=len(probe.answered),
        cost=probe.cost,
        budget=budget,
        calls_made=len(trial.answered),
        cost_made=trial.cost,
        refusal=next(iter(trial.refusals), ""),
        ending=trial.ending,
        holds=_holds(trial),
    )


def _holds(trial: Trial) -> bool:
    """Something was refused, nothing was spent past a limit, and the ledger was charged for every answer."""
    return (
        bool(trial.refusals)
        and all(call.metered for call in trial.answered)
        and not trial.overspent
        and (trial.charged == trial.cost or not trial.counts_money)
    )


def _patient(budget: Budget) -> Budget:
    """A budget as it is, but no trial waits for other calls or the next minute."""
    return budget.model_copy(update={"max_wait": 0.0})


def _part_of(probe: Trial, part: int) -> tuple[Cut, str]:
    """Budgets whose limits on spend are a part of what the probe took; and what that is, for people."""
    tokens = sum(call.input_tokens + call.output_tokens for call in probe.answered)
    spent = {"usd": probe.cost, "tokens": tokens, "model_calls": len(probe.answered)}
    limits = {name: max(1, amount // part) for name, amount in spent.items()}

    def cut(budget: Budget) -> Budget:
        given: dict[str, Any] = {name: limit for name, limit in limits.items() if getattr(budget, name) is not None}
        if "usd" in given:
            given["usd"] = to_usd(limits["usd"])
        return _patient(budget).model_copy(update=given)

    money, calls = format_usd(limits["usd"]), f"{limits['model_calls']} call(s) and {limits['tokens']:,} tokens"
    return cut, money if probe.counts_money else calls


# -- findings -------------------------------------------------------------------------------------------------------


def _setup_findings(app: Runnable[Any, Any], probe: Trial) -> Iterator[Finding]:
    for used in probe.used:
        yield from ledger_findings(used.ledger)
    if probe.used and not probe.budgets:
        remedy = 'Give the callback or the graph a budget: budget=Budget(usd="...")'
        yield Finding("error", "no-budget", "Calls are metered, and nothing limits them", "", remedy)
    for budget in probe.budgets:
        yield from budget_findings(budget)
    yield from checkpoint_findings(app, any(budget.on_exhausted == "suspend" for budget in probe.budgets))
    if libraries := network.unseen():
        what = f"Connections made by {', '.join(libraries)} cannot be seen by Python, so they were not blocked"
        yield Finding("note", "native-network", what, "", "Check calls made through them by hand")


def _ungoverned(app: Runnable[Any, Any]) -> Finding:
    if isinstance(app, Pregel):
        what, remedy = (
            "No budget governs this graph",
            "Build it with BudgetedGraph, or wrap it: budgeted(app, budget=...)",
        )
    else:
        what, remedy = "No budget governs this chain", "Run it with CostCallback(budget=...) among its callbacks"
    return Finding("error", "ungoverned", what, type(app).__name__, remedy)


def _governed(app: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """The application as it would be under a budget, to see what else would be missed."""
    if isinstance(app, Pregel):
        return budgeted(app, budget=_AMPLE)
    meter = Meter(Policy((_AMPLE,)), MemoryLedger(), PriceBook.default())

    async def run(input: Any, config: Any) -> Any:
        with governed_by(open_run(meter, config, None, {}, may_wait=False)):
            return await app.ainvoke(input, config)

    return RunnableLambda(run)


def _call_findings(probe: Trial) -> Iterator[Finding]:
    for call in probe.answered:
        where = ", ".join(part for part in (call.node and f"node {call.node!r}", call.where) if part)
        if not call.metered:
            what = f"A call of {call.model} that no budget sees"
            remedy = (
                "Run it in the node's own thread or task, or hand the context on: contextvars.copy_context().run(...)"
            )
            yield Finding("error", "unmetered-model", what, where, remedy)
        if call.retries:
            what = f"{call.model} sends a failed request again by itself, up to {call.retries} times unseen"
            yield Finding(
                "warning", "sdk-retries", what, where, "Wrap it with budgeted_model(model), or set max_retries=0"
            )
        if call.without_usage:
            what = f"{call.model} streams without reporting usage, so that its spend is only estimated"
            remedy = "Wrap it with budgeted_model(model), or set stream_usage=True"
            yield Finding("warning", "usage-missing", what, where, remedy)
        if not _has_price(probe, call.model, call.provider):
            what = f"No price is known for {call.model}: under a budget in USD its calls are refused"
            yield Finding("error", "price-missing", what, where, _ADD_A_PRICE)


_ADD_A_PRICE = "Add a price: PriceBook.default().register({...}), see docs/prices.md"


def _has_price(probe: Trial, model: str, provider: str | None) -> bool:
    prices = probe.used[0].prices if probe.used else PriceBook.default()
    try:
        prices.price(model, provider)
    except UnknownPrice:
        return False
    return True


_LOOK_YOURSELF = "Make chat models before the graph runs; of embeddings, check that they are budgeted_embeddings(...)"


def _contact_findings(probe: Trial) -> Iterator[Finding]:
    for contact in probe.contacts:
        where = contact.where or contact.target
        if contact.is_model:
            what = f"A model at {contact.target} could not be replaced by a fake, so its calls were not examined"
            yield Finding("warning", "not-examined", what, where, _LOOK_YOURSELF)
        elif contact.is_provider:
            what = f"A call of a provider's library ({contact.target}) that no budget sees"
            remedy = "Call the model through LangChain: budgeted_model(...) or any chat model"
            yield Finding("error", "unmetered-call", what, where, remedy)
        else:
            what = f"{contact.target} was wanted, and not contacted during the examination"
            yield Finding("note", "contact", what, where)


_FITTING = "Give it a fitting --input, --context or --config"


def _run_findings(app: Runnable[Any, Any], probe: Trial) -> Iterator[Finding]:
    """What the trial could not see."""
    if isinstance(probe.failure, UnknownPrice):
        yield Finding("error", "price-missing", str(probe.failure), _place_of(probe.failure), _ADD_A_PRICE)
    elif probe.failure is not None:
        what = f"The application failed on fake answers: {_said(probe.failure)}"
        yield Finding("warning", "app-failed", what[:500], _place_of(probe.failure), _FITTING)
    elif not probe.answered and not probe.refusals:
        yield Finding("warning", "no-model-call", "No chat model was called", "", "Give an --input that leads to one")
    if probe.tools:
        what = f"Tools were not run: {_listed(probe.tools)}"
        yield Finding("note", "tools-not-run", what, "", "Use --run-tools if they do no harm, to have them examined")
    if missed := _nodes_of(app) - probe.nodes:
        what = f"Nodes were not reached, so nothing is known of them: {_listed(missed)}"
        yield Finding("note", "not-reached", what, "", "Give an --input that leads there")


def _said(failure: BaseException) -> str:
    if isinstance(failure, SystemExit):
        return f"it called sys.exit({failure.code!r})"
    return f"{type(failure).__name__}: {failure}"


def _place_of(error: BaseException) -> str:
    frames, step = [], error.__traceback__
    while step is not None:
        frames.append(step.tb_frame)
        step = step.tb_next
    return stacks.users_place(frames[::-1])


def _nodes_of(app: Runnable[Any, Any]) -> set[str]:
    if not isinstance(app, Pregel):
        return set()
    settings: Any = getattr(app, "settings", None)
    return set(app.nodes) - {"__start__", getattr(settings, "finalizer_name", "")}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
