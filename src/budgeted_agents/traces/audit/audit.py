"""``Audit``: a fold over calls that can be merged with others, so that several processes can each audit a part."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache
from typing import Protocol
from zlib import crc32

from budgeted_agents.prices import Price
from budgeted_agents.traces.audit.tallies import Place, SessionTally, Tally, united
from budgeted_agents.traces.audit.verdicts import assess, to_atto
from budgeted_agents.traces.call import PRICED_BY_LOG, TracedCall

DIMENSIONS = ("model", "node", "tool", "tenant", "feature", "day")
"""What calls are grouped by, beside their session."""

PREMIUM_PER_MILLION = 10
"""USD for a million output tokens from which on a model counts as a dear one."""

_PREMIUM = PREMIUM_PER_MILLION * 10**12
"""The same in atto-USD for one token."""

_EPOCH = date(1970, 1, 1)
_DAY = 86_400
END_OF_TIME = 2.5e11
"""Seconds since the epoch that a calendar of four-digit years can still show."""

_MOST_PRICES = 10_000
_MOST_PLACES = 20_000
"""Places that are kept apart before their sums go into the groups."""


Groups = dict[str, dict[str, Tally]]
"""Sums by dimension and name."""

PlaceKey = tuple[str, str, int, str, str, str]
"""A ``Place`` as a plain tuple: making one for each call is several times quicker."""


class Prices(Protocol):
    """What models cost on a day."""

    def on(self, day: int, model: str, provider: str, region: str) -> Price | None:
        """The price of a model on a day (days since 1970-01-01, 0 if unknown) and in a region, or None."""


class Remembered:
    """Prices that are asked for once, where to ask takes long and many audits need the same ones.

    Args:
        prices: who knows them.
    """

    def __init__(self, prices: Prices) -> None:
        self.on = lru_cache(maxsize=_MOST_PRICES)(prices.on)


@dataclass(slots=True)
class Cell:
    """A place, the price that holds there, and its calls since its sums last went into the groups."""

    place: Place
    tally: Tally
    price: Price | None
    is_premium: bool


class Audit:
    """Calls added up by session and by each of ``DIMENSIONS``, each priced and judged.

    Memory grows with the number of sessions and names, not with the number of calls. It can be pickled; what comes
    back has no prices, and is there to be merged.

    Args:
        prices: what models cost on the day of a call.
    """

    def __init__(self, prices: Prices) -> None:
        self._prices: Prices | None = prices
        self._known_prices: dict[tuple[int, str, str, str], Price | None] = {}
        self._downgrades: dict[tuple[str, Place], bool] = {}
        self._cells: dict[PlaceKey, Cell] = {}
        self.sessions: dict[str, SessionTally] = {}
        self.groups: Groups = {dimension: {} for dimension in DIMENSIONS}
        self.price_sources: set[str] = set()
        self.premium_cost = 0

    def add(self, call: TracedCall) -> None:
        """Take one call, or one statement about a session."""
        session = self.sessions.get(call.session)
        if session is None:
            session = self.sessions[call.session] = SessionTally()
        session.happened(call.started_at, call.ended_at)
        if call.kind == "tool":
            self._add_tool(session, call)
        elif call.kind == "statement":
            self._add_statement(session, call)
        else:
            self._add_model_call(session, call)

    def merge(self, other: Audit) -> None:
        """Add what another audit has added up, of other calls."""
        other.settle()
        for name, session in other.sessions.items():
            mine = self.sessions.get(name)
            if mine is None:
                self.sessions[name] = session
            else:
                mine.merge_session(session)
        for dimension, group in other.groups.items():
            for name, tally in group.items():
                _tally(self.groups, dimension, name).merge(tally)
        self.price_sources |= other.price_sources
        self.premium_cost += other.premium_cost

    def settle(self) -> None:
        """Bring what is kept by place into the groups. Reading ``groups`` is right after this."""
        for cell in self._cells.values():
            _add_to(self.groups, cell.place, cell.tally)
            if cell.is_premium:
                self.premium_cost += cell.tally.cost
        self._cells = {}

    def final_groups(self) -> Groups:
        """The groups, with what is stated of sessions of which no call is known."""
        self.settle()
        groups = {name: {key: replace(tally) for key, tally in group.items()} for name, group in self.groups.items()}
        for session in self.sessions.values():
            if not session.calls:
                for place, stated in session.statements():
                    _add_to(groups, place, stated)
        return groups

    def __getstate__(self) -> dict[str, object]:
        self.settle()
        return {**self.__dict__, "_prices": None, "_known_prices": {}, "_downgrades": {}}

    def _add_model_call(self, session: SessionTally, call: TracedCall) -> None:
        cell = self._cells.get(key := _place_of(call)) or self._new_cell(key)
        price = self._price_at(cell.place, call.region) if call.region else cell.price
        usage, found = call.usage, assess(call, price)
        prompt, cached, output = usage.prompt_tokens, usage.cache_read, usage.completion_tokens
        cost, recorded, failed = found.cost, found.recorded, call.error != ""
        session.add(prompt, cached, output, cost, recorded, failed)
        cell.tally.add(prompt, cached, output, cost, recorded, failed)
        session.judge(found)
        if call.model not in session.models:
            session.models = united(session.models, (call.model,))
        if found.unrecorded_cache:
            session.unrecorded_cache += found.unrecorded_cache
        if call.flags:
            session.flags = united(session.flags, call.flags)
        if found.is_by_log:
            self._add_logged_price(session, call)
        if call.tools:
            self._add_asked_tools(session, call.tools, cost)
        if call.model_asked and call.model_asked != call.model and self._is_downgrade(call.model_asked, cell.place):
            session.downgrades += 1

    def _add_logged_price(self, session: SessionTally, call: TracedCall) -> None:
        """No list has the price of a call; its trace states one."""
        session.flags = united(session.flags, (PRICED_BY_LOG,))
        if call.logged_price is not None:
            self.price_sources.add(call.logged_price.source)

    def _add_asked_tools(self, session: SessionTally, tools: tuple[tuple[str, str], ...], cost: int | None) -> None:
        """Tools that an answer asks for share its cost."""
        share = None if cost is None else cost // len(tools)
        session.tool_calls += len(tools)
        for tool, fingerprint in tools:
            _tally(self.groups, "tool", tool).add(0, 0, 0, share, None, failed=False)
            if fingerprint:
                session.repeated().add(_digest(tool, fingerprint), share)

    def _add_tool(self, session: SessionTally, call: TracedCall) -> None:
        """A tool that ran. Which model call asked for it, and at what cost, its span does not say."""
        recorded = None if call.recorded_cost is None else to_atto(call.recorded_cost)
        session.tool_calls += 1
        _tally(self.groups, "tool", call.tool).add(0, 0, 0, None, recorded, failed=call.error != "")
        if call.fingerprint:
            session.repeated().add(_digest(call.tool, call.fingerprint), None)

    def _add_statement(self, session: SessionTally, call: TracedCall) -> None:
        session.concluded(call.turns, call.succeeded)
        if not call.calls and call.recorded_cost is None and not call.usage.total_tokens:
            return  # it says nothing of calls
        place = Place(*_place_of(call))
        price, usage, calls = self._price_at(place, call.region), call.usage, max(call.calls, 1)
        found, failed = assess(call, price), call.error != ""
        stated = session.stated_at(place)
        prompt, cached, output = usage.prompt_tokens, usage.cache_read, usage.completion_tokens
        stated.add(prompt, cached, output, found.cost, found.recorded, failed, calls)
        stated.judge(found, calls)
        stated.flags = united(stated.flags, call.flags)
        session.stated_premium += found.cost or 0 if _is_premium(price) else 0

    def _new_cell(self, key: PlaceKey) -> Cell:
        if len(self._cells) >= _MOST_PLACES:
            self.settle()
        place = Place(*key)
        price = self._price_at(place)
        # A tally of a session's kind: Python adds quickly only where it always finds the same kind of object.
        cell = self._cells[key] = Cell(place, SessionTally(), price, _is_premium(price))
        return cell

    def _price_at(self, place: Place, region: str = "") -> Price | None:
        return self._price_of(place.day, place.model, place.provider, region)

    def _price_of(self, day: int, model: str, provider: str, region: str = "") -> Price | None:
        key = (day, model, provider, region)
        if key in self._known_prices:
            return self._known_prices[key]
        if self._prices is None:
            raise RuntimeError("This audit came out of a pickle: it has no prices, and is there to be merged.")
        price = self._known_prices[key] = self._prices.on(*key) if model else None
        if price is not None:
            self.price_sources.add(price.source)
        return price

    def _is_downgrade(self, asked: str, place: Place) -> bool:
        """Whether the model that answered is cheaper than the one asked for; another name alone says nothing."""
        key = (asked, place)
        known = self._downgrades.get(key)
        if known is None:
            wanted = self._price_of(place.day, asked, place.provider)
            used = self._price_at(place)
            known = wanted is not None and used is not None and wanted.rates().output > used.rates().output
            self._downgrades[key] = known
        return known


def _add_to(groups: Groups, place: Place, tally: Tally) -> None:
    """Add calls of one place to the groups it belongs to."""
    _tally(groups, "model", place.model).merge(tally)
    _tally(groups, "node", place.node).merge(tally)
    _tally(groups, "tenant", place.tenant).merge(tally)
    _tally(groups, "feature", place.feature).merge(tally)
    _tally(groups, "day", day_name(place.day)).merge(tally)


def _tally(groups: Groups, dimension: str, name: str) -> Tally:
    group = groups[dimension]
    tally = group.get(name)
    if tally is None:
        tally = group[name] = Tally()
    return tally


def _is_premium(price: Price | None) -> bool:
    return price is not None and price.rates().output >= _PREMIUM


def day_name(day: int) -> str:
    """A day as ISO date; empty if unknown."""
    return (_EPOCH + timedelta(days=day)).isoformat() if day else ""


def day_of(time: float) -> int:
    """The day of a time in seconds since the epoch, in days since 1970-01-01; 0 if it is no sensible time."""
    return int(time // _DAY) if 0 < time < END_OF_TIME else 0


def _place_of(call: TracedCall) -> PlaceKey:
    started, attribution = call.started_at, call.attribution
    day = int(started // _DAY) if 0 < started < END_OF_TIME else 0  # `day_of`, without a call
    if not attribution:
        return (call.model, call.provider, day, call.node, "", "")
    get = attribution.get
    return (call.model, call.provider, day, call.node, get("tenant", ""), get("feature", ""))


def _digest(tool: str, fingerprint: str) -> int:
    return crc32(f"{tool}\0{fingerprint}".encode(errors="replace"))
