"""``Verification``: a ledger against its journal, entry by entry and account by account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from budgeted_agents.ledgers.contract import Balance, Entry, Ledger, State, unit_of
from budgeted_agents.ledgers.units import exact_text, unit_text
from budgeted_agents.traces.problems import Problem

Kind = Literal["missing", "unsettled", "extra", "differing"]

_MEANING: dict[Kind, str] = {
    "missing": "is in the journal only",
    "unsettled": "has ended by the journal, which the ledger has not booked",
    "extra": "is in the ledger only",
    "differing": "was charged otherwise",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """A reservation of which ledger and journal say different things.

    Attributes:
        kind: ``missing`` in the ledger; ``unsettled`` there; ``extra`` in the ledger; ``differing`` in state or charge.
        id, session: which one.
        ledger, journal: what each says of it, for people.
    """

    kind: Kind
    id: str
    session: str
    ledger: str
    journal: str

    def __str__(self) -> str:
        return f"{self.id} {_MEANING[self.kind]} (ledger: {self.ledger}; journal: {self.journal})"


@dataclass(frozen=True, slots=True)
class AccountCheck:
    """One account, in its unit.

    Attributes:
        key: the account's key.
        spent: what the ledger says was spent.
        by_entries: the same by the ledger's own reservations, and by the journal for those it has forgotten.
        by_journal: the same by the journal, with what the ledger presumed when nobody reported back.
        held, held_by_entries: what the ledger holds for calls in flight, and by its own reservations.
        credit, credit_by_journal: top-ups.
        presumed: the part of ``by_journal`` that was presumed because no end was ever recorded.
    """

    key: str
    spent: int
    by_entries: int
    by_journal: int
    held: int
    held_by_entries: int
    credit: int
    credit_by_journal: int
    presumed: int

    @property
    def unit(self) -> str:
        return unit_of(self.key)

    @property
    def agrees(self) -> bool:
        return (
            self.spent == self.by_entries == self.by_journal
            and self.held == self.held_by_entries
            and self.credit == self.credit_by_journal
        )

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__} | {"agrees": self.agrees}


@dataclass(frozen=True)
class Verification:
    """What was found. Nothing was changed.

    Attributes:
        matching: reservations of which both say the same.
        presumed: those that expired without an end in the journal: a worker died, and they were charged as held.
        in_flight: those that have not ended.
        unmade: those that were given back because no call was made; no money moved.
        differences: those that nothing explains.
        accounts: every account, in the order of its first use.
        problems: lines of the journal that could not be used.
        restored: calls and top-ups that a rebuild has booked just before.
        forgotten: those that the ledger has been told to forget; the journal alone tells of them.
    """

    matching: int
    presumed: int
    in_flight: int
    unmade: int
    differences: tuple[Difference, ...]
    accounts: tuple[AccountCheck, ...]
    problems: tuple[Problem, ...] = ()
    restored: int = 0
    forgotten: int = 0

    @property
    def agrees(self) -> bool:
        """Whether ledger and journal tell the same; a line that cannot be read is told, and by itself no difference."""
        return not self.differences and all(account.agrees for account in self.accounts)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; amounts as integers in each account's unit (nano-USD for ``usd``)."""
        return {
            "agrees": self.agrees,
            "restored": self.restored,
            "matching": self.matching,
            "presumed": self.presumed,
            "in_flight": self.in_flight,
            "unmade": self.unmade,
            "forgotten": self.forgotten,
            "differences": [{name: getattr(each, name) for name in each.__slots__} for each in self.differences],
            "accounts": [account.to_json() for account in self.accounts],
            "problems": [str(problem) for problem in self.problems],
        }

    def __str__(self) -> str:
        parts = [f"{self.restored:,} restored"] if self.restored else []
        parts += [f"{self.matching:,} agree", f"{self.presumed:,} presumed without a sign of their workers"]
        parts += [f"{self.in_flight:,} in flight", f"{len(self.differences):,} differ"]
        parts += [f"{self.forgotten:,} forgotten by the ledger"] if self.forgotten else []
        verdict = "Ledger and journal agree" if self.agrees else "Ledger and journal differ"
        return f"{verdict}: {', '.join(parts)}."

    def __rich__(self) -> Any:
        from budgeted_agents.reports.tables import verification_table

        return verification_table(self)


def verify(ledger: Ledger, journal: Ledger, problems: Sequence[Problem] = (), restored: int = 0) -> Verification:
    """Compare a ledger with what its journal says.

    Args:
        ledger: the one in use; quiet, or what just happens looks like a difference.
        journal: a ledger with what the journal says and nothing else (``traces.rebuild.folded``).
        problems: lines of the journal that could not be used, to be told.
        restored: what a rebuild has booked just before, to be told.
    """
    said = {entry.id: entry for entry in journal.entries()}
    counts: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    held: Counter[str] = Counter()
    presumed: Counter[str] = Counter()
    differences: list[Difference] = []
    for entry in ledger.entries():
        spent.update(dict(entry.charged))
        if entry.state is State.RESERVED:
            held.update(dict(entry.held))
        verdict = _verdict(entry, said.pop(entry.id, None))
        if isinstance(verdict, Difference):
            differences.append(verdict)
        else:
            counts[verdict] += 1
        if verdict == "presumed":
            presumed.update(dict(entry.charged))
    forgotten = ledger.forgotten
    for entry in said.values():
        if entry.closed_at is not None and entry.closed_at <= forgotten and entry.state is not State.PRESUMED:
            counts["forgotten"] += 1
            spent.update(dict(entry.charged))
        else:
            differences.append(Difference("missing", entry.id, entry.session, "-", _told(entry)))
    accounts = tuple(_checks(ledger, journal, spent, held, presumed))
    return Verification(
        matching=counts["matching"],
        presumed=counts["presumed"],
        in_flight=counts["in_flight"],
        unmade=counts["unmade"],
        differences=tuple(differences),
        accounts=accounts,
        problems=tuple(problems),
        restored=restored,
        forgotten=counts["forgotten"],
    )


def _verdict(entry: Entry, said: Entry | None) -> str | Difference:
    """What a reservation of the ledger counts as, by what the journal says of it."""
    nobody_reported = entry.state is State.RESERVED or (entry.state is State.PRESUMED and not entry.record)
    if said is not None:
        if (said.state, said.charged) == (entry.state, entry.charged):
            return "matching"
        kind: Kind = "unsettled" if nobody_reported else "differing"
        return Difference(kind, entry.id, entry.session, _told(entry), _told(said))
    if nobody_reported:
        return "in_flight" if entry.state is State.RESERVED else "presumed"
    if entry.state is State.RELEASED and not entry.record:
        return "unmade"
    return Difference("extra", entry.id, entry.session, _told(entry), "-")


def _told(entry: Entry) -> str:
    amounts = [(unit_of(key), amount) for key, amount in entry.charged]
    charged = ", ".join(f"{exact_text(unit, amount)} {unit_text(unit)}" for unit, amount in amounts)
    return f"{entry.state}, {charged}" if charged else str(entry.state)


def _checks(
    ledger: Ledger, journal: Ledger, spent: Counter[str], held: Counter[str], presumed: Counter[str]
) -> Iterator[AccountCheck]:
    accounts = tuple(dict.fromkeys((*ledger.accounts(), *journal.accounts())))
    for own, told in zip(ledger.balances(accounts), journal.balances(accounts), strict=True):
        yield _check(own, told, spent, held, presumed)


def _check(
    own: Balance, told: Balance, spent: Counter[str], held: Counter[str], presumed: Counter[str]
) -> AccountCheck:
    key = own.account.key
    by_journal = told.spent + presumed[key]
    return AccountCheck(
        key, own.spent, spent[key], by_journal, own.held, held[key], own.credit, told.credit, presumed[key]
    )
