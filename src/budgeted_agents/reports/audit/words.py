"""How figures and verdicts are put in words, the same on a terminal and on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from budgeted_agents.money import NANO, format_usd
from budgeted_agents.traces.audit.verdicts import VERDICTS, Verdict

if TYPE_CHECKING:
    from budgeted_agents.reports.audit.report import AuditReport, Figures

_MOST_NAMED = 3
_LONGEST_NAME = 200

UNKNOWN = "-"
"""What stands for an amount that nobody knows."""

MEANINGS: Mapping[Verdict, str] = {
    "exact": "recorded is right",
    "rounding": "right but for rounding",
    "explained_by_cache_ttl": "cache writes at another lifetime's price",
    "explained_by_unrecorded_cache": "right; the trace leaves cached tokens out",
    "explained_by_logged_price": "by a price that the trace itself states",
    "constant_ratio": "one wrong price was used throughout",
    "recorded_missing": "no cost recorded",
    "unpriced": "no price or no tokens known",
    "mismatch": "recorded is wrong",
}


def usd(amount: Decimal | None) -> str:
    """An amount for people; a dash if it is not known."""
    return UNKNOWN if amount is None else format_usd(int((amount * NANO).to_integral_value()))


def tokens(figures: Figures) -> str:
    """All tokens; a dash where there are none, as with tools."""
    return f"{figures.tokens:,}" if figures.tokens else UNKNOWN


def percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share:.1%}"


def count(number: float | None) -> str:
    return (
        UNKNOWN if number is None else f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:,.1f}"
    )


def verdict_name(verdict: Verdict) -> str:
    """``explained_by_cache_ttl`` as ``cache ttl``."""
    return verdict.removeprefix("explained_by_").replace("_", " ")


def flag_name(flag: str) -> str:
    """``session_only`` as ``session only``."""
    return flag.replace("_", " ")


def verdict_shares(verdicts: Mapping[Verdict, int]) -> list[tuple[Verdict, int, float]]:
    """Verdicts that occur, from the best to the worst: how many, and which share of all."""
    total = sum(verdicts.values())
    return [(verdict, verdicts[verdict], verdicts[verdict] / total) for verdict in VERDICTS if verdicts.get(verdict)]


def cost_shares(groups: Mapping[str, Figures], most: int) -> list[tuple[str, Figures, float]]:
    """The first groups, each with its cost as a share of the dearest."""
    first = list(groups.items())[:most]
    dearest = max((found.cost_usd or Decimal(0) for _, found in first), default=Decimal(0))
    return [(name, found, float((found.cost_usd or 0) / dearest) if dearest else 0.0) for name, found in first]


def summary(report: AuditReport) -> str:
    """What was read, in one line."""
    totals = report.totals
    parts = [
        many(len(report.sessions), "session"),
        many(totals.calls, "call"),
        f"{totals.input_tokens:,} tokens in ({percent(report.signals.cache_hit_rate)} cached)",
        f"{totals.output_tokens:,} out",
    ]
    return " · ".join([*parts, many(len(report.files), "file")] if report.files else parts)


def signal_lines(report: AuditReport) -> list[tuple[str, str]]:
    """The signals, each with its value; those that the traces do not tell are left out."""
    found = report.signals
    loops = f"{usd(found.loop_cost_usd)} ({many(found.repeated_tool_calls, 'repeated tool call')})"
    failed = f"{usd(found.failed_cost_usd)} ({many(report.totals.failed_calls, 'failed call')})"
    lines = [
        ("cost per success", usd(found.cost_per_success_usd)),
        ("tokens per user action", count(found.tokens_per_turn)),
        ("tool calls per session", count(found.tool_calls_per_session)),
        ("cache hit rate", percent(found.cache_hit_rate)),
        ("share of dear models", percent(found.premium_share)),
        ("downgraded calls", percent(found.downgrade_share)),
        ("cost of loops", loops if found.repeated_tool_calls else "none found"),
        ("paid for and failed", failed if report.totals.failed_calls else "none found"),
        ("sessions without success", usd(found.unsuccessful_cost_usd)),
    ]
    return [(name, value) for name, value in lines if value != UNKNOWN]


def cut(name: str) -> str:
    """A name from a trace, which may be of any length, short enough to be shown."""
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."


def some(names: Sequence[str], separator: str = ", ") -> str:
    """The first of many names, and how many more there are."""
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return separator.join(map(cut, names[:_MOST_NAMED])) + more


def many(number: int, noun: str) -> str:
    """``1 call``, ``2 calls``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
