"""Audits to report on: what several tests share."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from budgeted_agents.prices import DatedPrices, PriceBook
from budgeted_agents.reports.audit import AuditReport, FileAudit, audit_report
from budgeted_agents.traces.audit.audit import Audit
from budgeted_agents.traces.call import TracedCall
from budgeted_agents.traces.problems import Problem
from budgeted_agents.usage import Usage

HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m\u202e[bold]=1"
ROWS = {
    "small": {"input_cost_per_token": "0.000001", "output_cost_per_token": "0.000005"},
    "large": {"input_cost_per_token": "0.00001", "output_cost_per_token": "0.00005"},
}
PRICES = DatedPrices(PriceBook(ROWS, "test prices"))
DAY = 86_400.0


def model_call(number: int, session: str, model: str = "small", recorded: str | None = None, **more: Any) -> TracedCall:
    """A call of 1,000 tokens in and 100 out: $0.0015 by the small model, $0.015 by the large one."""
    cost = None if recorded is None else Decimal(recorded)
    usage = Usage(input=600, cache_read=400, output=100)
    started = number * DAY
    return TracedCall(
        id=str(number), session=session, model=model, usage=usage, recorded_cost=cost, started_at=started, **more
    )


def report_of(calls: Iterable[TracedCall], files: Iterable[FileAudit] = ()) -> AuditReport:
    """The report on some calls."""
    audit = Audit(PRICES)
    for call in calls:
        audit.add(call)
    return audit_report(audit, list(files))


def mixed_report() -> AuditReport:
    """Sessions of every kind, and hostile names."""
    calls = [
        model_call(1, "right", recorded="0.0015", node="agent", attribution={"tenant": "acme"}),
        model_call(2, "right", recorded="0.0015", node="planner", tools=(("search", "x"),)),
        model_call(3, "right", recorded="0.0015", tools=(("search", "x"),)),
        model_call(4, "silent", model="large"),
        model_call(5, "wrong", recorded="0.0071"),
        model_call(6, HOSTILE, model=HOSTILE, node=HOSTILE, flags=(HOSTILE,), attribution={"tenant": HOSTILE}),
        TracedCall(id="7", session="right", kind="statement", turns=2, succeeded=True),
        TracedCall(id="8", session="stated", kind="statement", model="small", usage=Usage(input=9000), calls=9),
    ]
    return report_of(
        calls,
        [FileAudit("a.jsonl", "otlp", 8, 2, (Problem("a.jsonl", "is cut off", 7),)), FileAudit("b.bin", "", 0, 0)],
    )
