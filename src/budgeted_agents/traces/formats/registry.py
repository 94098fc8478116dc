"""Which formats there are, and which of them a file is in."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pkgutil import resolve_name
from typing import cast

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.traces.formats import ENTRY_POINTS, Format
from budgeted_agents.traces.sources import Source

_OURS = "budgeted_agents."


class Formats:
    """The formats that are installed: users' own before ours, each in order of names. One is loaded when it is needed.

    Args:
        places: where each is, as ``package.module:format``, by name.

    Attributes:
        places: the same, in the order in which they are asked.
        warnings: which of them cannot be loaded, so far as that was tried.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self.places = dict(sorted(places.items(), key=lambda item: (_is_ours(item[1]), item[0])))
        self._loaded: dict[str, Format | None] = {}
        self.warnings: list[str] = []

    @classmethod
    def installed(cls) -> Formats:
        """Every format of the group of entry points. Of two with one name, a user's own is taken."""
        from importlib.metadata import entry_points  # workers are told, and do not need it

        entries = sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: _is_ours(entry.value), reverse=True)
        return cls({entry.name: entry.value for entry in entries})

    @property
    def names(self) -> list[str]:
        """What they are called."""
        return list(self.places)

    def named(self, name: str) -> Format:
        """The format of a name.

        Raises:
            InvalidTrace: there is none, or it cannot be loaded.
        """
        if name not in self.places:
            nearest = get_close_matches(name, self.places, n=1) or sorted(self.places)
            raise _invalid("there is no such format", name, f"Use one of: {', '.join(nearest)}")
        format = self._load(name)
        if format is None:
            raise _invalid("the format cannot be loaded", name, "; ".join(self.warnings))
        return format

    def of(self, source: Source) -> Format | None:
        """The format a file is in, or None. If several claim it, the first has it, with a problem that names the rest.

        Raises:
            InvalidTrace: the file cannot be read.
        """
        loaded = [format for name in self.places if (format := self._load(name)) is not None]
        claims = [format for format in loaded if format.detect(source)]
        if len(claims) > 1:
            others = ", ".join(format.name for format in claims[1:])
            source.problems.warn(f"is read as {claims[0].name}, but looks like {others} too; --format says which")
        return claims[0] if claims else None

    def _load(self, name: str) -> Format | None:
        """A format; None, with a warning, if it cannot be loaded."""
        if name not in self._loaded:
            place = self.places[name]
            try:
                self._loaded[name] = cast("Format", resolve_name(place))
            except Exception as error:  # noqa: BLE001 -- whatever a stranger's module raises costs that module alone
                self._loaded[name] = None
                self.warnings.append(f"format {name!r} ({place}) cannot be loaded: {error}")
        return self._loaded[name]


def _is_ours(place: str) -> bool:
    return place.startswith(_OURS)


def _invalid(problem: str, name: str, remedy: str) -> InvalidTrace:
    return InvalidTrace(problem, field="format", value=name, place="replay", remedy=remedy)
