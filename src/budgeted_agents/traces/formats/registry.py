"""Which formats there are, and which of them a file is in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.traces.formats import ENTRY_POINTS, Format
from budgeted_agents.traces.sources import Source

_OURS = "budgeted_agents."


@dataclass(frozen=True)
class Formats:
    """The formats that are installed.

    Attributes:
        by_name: users' own before ours, each in order of names. The first that claims a file has it.
        warnings: what could not be loaded.
    """

    by_name: Mapping[str, Format]
    warnings: tuple[str, ...] = ()

    @classmethod
    def installed(cls) -> Formats:
        """Every format of the group of entry points; one that fails to load costs itself."""
        found: dict[str, Format] = {}
        warnings = []
        for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: (_is_ours(entry), entry.name)):
            try:
                found.setdefault(entry.name, entry.load())
            except Exception as error:  # noqa: BLE001 -- whatever a stranger's module raises costs that module alone
                warnings.append(f"format {entry.name!r} ({entry.value}) cannot be loaded: {error}")
        return cls(found, tuple(warnings))

    def named(self, name: str) -> Format:
        """The format of a name.

        Raises:
            InvalidTrace: there is none.
        """
        if name not in self.by_name:
            nearest = get_close_matches(name, self.by_name, n=1) or sorted(self.by_name)
            remedy = f"Use one of: {', '.join(nearest)}"
            raise InvalidTrace("there is no such format", field="format", value=name, place="replay", remedy=remedy)
        return self.by_name[name]

    def of(self, source: Source) -> Format | None:
        """The format a file is in, or None. If several claim it, the first has it, with a problem that names the rest.

        Raises:
            InvalidTrace: the file cannot be read.
        """
        claims = [format for format in self.by_name.values() if format.detect(source)]
        if len(claims) > 1:
            others = ", ".join(format.name for format in claims[1:])
            source.problems.warn(f"is read as {claims[0].name}, but looks like {others} too; --format says which")
        return claims[0] if claims else None


def _is_ours(entry: EntryPoint) -> bool:
    return entry.value.startswith(_OURS)
