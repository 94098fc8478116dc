"""What the doctor says: findings, and the proof that the cap trips."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from budgeted_agents.money import format_usd

Severity = Literal["error", "warning", "note"]
"""``error``: money can be spent past the budget. ``warning``: it may be, or spend be lost. ``note``: good to know."""

_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}
_COLORS: dict[Severity, str] = {"error": "red", "warning": "yellow", "note": "dim"}


@dataclass(frozen=True)
class Finding:
    """Something to know about an application.

    Attributes:
        severity: see ``Severity``.
        code: a stable short name, e.g. ``unmetered-model``.
        what: what is wrong.
        where: a node, a file and line, or a setting.
        remedy: what to do about it.
    """

    severity: Severity
    code: str
    what: str
    where: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Proof:
    """How the application behaved when its budget was too small.

    Attributes:
        calls, cost: model calls of one turn with budget enough, and what they would have cost, in nano-USD.
        budget: what the budget was cut to, for people.
        calls_made, cost_made: calls, and nano-USD, under the cut budget.
        refusal: the first refusal; empty if nothing was refused.
        ending: how the run ended.
        holds: whether the cap tripped, and nothing was spent past it.
    """

    calls: int
    cost: int
    budget: str
    calls_made: int
    cost_made: int
    refusal: str
    ending: str
    holds: bool

    def __str__(self) -> str:
        return (
            f"One turn makes {self.calls} model call(s) for {format_usd(self.cost)}. With a budget of {self.budget}: "
            f"{self.calls_made} call(s) for {format_usd(self.cost_made)}, "
            f"{'then a call was refused' if self.refusal else 'nothing was refused'}; {self.ending}."
        )


@dataclass(frozen=True)
class Diagnosis:
    """What an examination found.

    Attributes:
        app: the application, as it was named.
        findings: worst first.
        proof: that the cap trips; None if no model was called, or no budget limits spend.
    """

    app: str
    findings: tuple[Finding, ...]
    proof: Proof | None = None

    @classmethod
    def of(cls, app: str, findings: Iterable[Finding], proof: Proof | None) -> Diagnosis:
        """Findings are sorted, and each is kept once."""
        return cls(app, tuple(sorted(dict.fromkeys(findings), key=lambda finding: _ORDER[finding.severity])), proof)

    @property
    def is_clean(self) -> bool:
        """No error and no warning, and the cap held."""
        return all(finding.severity == "note" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; money as integers in nano-USD."""
        return {
            "app": self.app,
            "clean": self.is_clean,
            "proof": asdict(self.proof) if self.proof else None,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        proved = Text(str(self.proof), style="green" if self.proof.holds else "red") if self.proof else Text("")
        lines = [_line(finding) for finding in self.findings] or [Text("Nothing to say.", style="green")]
        return Group(proved, *lines)


def _line(finding: Finding) -> Any:
    from rich.text import Text

    where = f" ({finding.where})" if finding.where else ""
    head = (f"{finding.severity}: {finding.code}", _COLORS[finding.severity])
    return Text.assemble(head, f"{where}: {finding.what}", f"\n    {finding.remedy}" if finding.remedy else "")
