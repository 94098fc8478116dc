"""HTML from elements. Text and attributes are escaped on their way in: no name from a trace can become markup."""

from __future__ import annotations

from html import escape
from typing import NewType

from budgeted_agents.reports.tables import printable

Html = NewType("Html", str)
"""Finished markup. Only this module makes it, so that the type checker sees to the escaping."""

_VOID = frozenset({"meta", "rect"})


def text(content: str) -> Html:
    """Any string as text."""
    return Html(escape(printable(content)))


def element(tag: str, /, *children: Html, **attributes: str | float) -> Html:
    """An element.

    Args:
        tag: its name.
        children: what stands in it.
        attributes: a trailing underscore is dropped (``class_``), other underscores become hyphens.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(printable(str(value)))}"' for key, value in attributes.items()
    )
    start = f"<{tag}{given}>"
    content = "".join(children)
    return Html(start if tag in _VOID else f"{start}{content}</{tag}>")


def join(*parts: Html) -> Html:
    """Elements side by side."""
    return Html("".join(parts))


def style_sheet(css: str) -> Html:
    """A style element; its text is the package's own and stands as it is."""
    return Html(f"<style>{css}</style>")
