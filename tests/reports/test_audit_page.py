"""The page: one file, nothing loaded, nothing run, every name escaped."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from budgeted_agents.reports.audit.page import audit_page
from tests.reports.audits import HOSTILE, mixed_report, model_call, report_of

VOID = {"meta", "rect"}
ALLOWED = {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "section", "div", "span"}
ALLOWED |= {"ul", "li", "table", "tr", "th", "td", "svg", "g", "rect", "figure", "figcaption", "footer"}


class Page(HTMLParser):
    """Parses a page strictly: every element closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.values: list[str] = []
        self.texts: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.values += [value or "" for _, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        else:
            self.texts.append(data)


@pytest.fixture(scope="module")
def html() -> str:
    return audit_page(mixed_report())


def test_it_is_well_formed_and_has_only_harmless_elements(html: str) -> None:
    page = Page(html)
    assert page.tags <= ALLOWED
    assert not any(name.startswith("on") or name in ("src", "href", "style") for name in page.attributes)


def test_names_are_text(html: str) -> None:
    shown = HOSTILE.replace("\x1b", "\N{REPLACEMENT CHARACTER}").replace("\u202e", "\N{REPLACEMENT CHARACTER}")
    texts = Page(html).texts
    assert shown in texts
    assert "<script" not in html


def test_nothing_is_loaded_and_the_style_is_known_by_its_digest(html: str) -> None:
    page = Page(html)
    digest = b64encode(sha256(page.style.encode()).digest()).decode()
    policy = next(value for value in page.values if value.startswith("default-src"))
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
    assert not re.search(r"https?:|//|@import|url\(", html.replace("<!doctype html>", ""))


def test_figures_are_on_it(html: str) -> None:
    texts = Page(html).texts
    for text in ("$0.004500", "By model", "By tenant", "Cost over time", "acme", "mismatch", "session only"):
        assert text in texts


def test_long_lists_are_cut_and_say_so() -> None:
    html = audit_page(report_of(model_call(1, f"s{i}") for i in range(12)), top=10)
    assert "and 2 more" in Page(html).texts
    assert html.count("<tr>") < 40


def test_a_name_of_any_length_is_cut() -> None:
    assert len(audit_page(report_of([model_call(1, "s" * 10**6, model="m" * 10**6, node="n" * 10**6)]))) < 20_000


def test_many_days_become_months() -> None:
    html = audit_page(report_of(model_call(20_000 + 10 * i, "s") for i in range(60)))
    assert "2026-01: $0.004500" in Page(html).texts


def test_an_empty_audit() -> None:
    assert "Agent spend" in Page(audit_page(report_of([]))).texts
