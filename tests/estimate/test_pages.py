"""Pages of a PDF, and what a prompt with one counts as."""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage

from budgeted_agents.estimate import PER_PAGE, pages_of
from budgeted_agents.integrations.langchain.calls.messages import count

PAGE = b"<< /Type /Page /Parent 1 0 R /MediaBox [0 0 612 792] >>"


def plain(pages: int) -> bytes:
    """As older programs write it: each object by itself."""
    objects = [b"<< /Type /Pages /Count %d >>" % pages, *[PAGE] * pages, b"<< /Type/PageLabels >>"]
    return b"%PDF-1.4\n" + b"".join(b"%d 0 obj\n%s\nendobj\n" % (n, body) for n, body in enumerate(objects, 1))


def packed(pages: int) -> bytes:
    """As newer ones do: the objects in a packed stream."""
    stream = zlib.compress(b"1 0 2 30 << /Type/Pages >>" + PAGE * pages)
    head = b"<< /Type /ObjStm /N %d /First 9 /Length %d /Filter /FlateDecode >>" % (pages + 1, len(stream))
    return b"%PDF-1.7\n7 0 obj\n" + head + b"\nstream\r\n" + stream + b"\r\nendstream\nendobj\n"


@pytest.mark.parametrize("make", [plain, packed])
@pytest.mark.parametrize("pages", [1, 3, 250])
def test_pages_are_found_however_they_are_written(make: Any, pages: int) -> None:
    assert pages_of(make(pages)) == pages


def test_where_no_page_is_found_bytes_are_counted() -> None:
    assert pages_of(b"%PDF-1.7 encrypted") == 1
    assert pages_of(b"%PDF-1.7 encrypted" + bytes(20_000)) == 11


@given(st.binary(max_size=2_000), st.binary(max_size=200))
def test_damaged_files_have_some_pages(before: bytes, after: bytes) -> None:
    assert pages_of(before + b"/Type /ObjStm >> stream\n" + after) >= 1


FORMS: dict[str, Callable[[str], dict[str, Any]]] = {
    "standard": lambda data: {"type": "file", "base64": data, "mime_type": "application/pdf"},
    "standard, of old": lambda data: {
        "type": "file",
        "source_type": "base64",
        "data": data,
        "mime_type": "application/pdf",
    },
    "openai": lambda data: {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{data}"}},
    "openai responses": lambda data: {"type": "input_file", "file_data": f"data:application/pdf;base64,{data}"},
    "anthropic": lambda data: {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": data},
    },
    "gemini": lambda data: {"type": "media", "mime_type": "application/pdf", "data": data},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_pdf_counts_by_its_pages_in_every_providers_form(form: str) -> None:
    pdf = plain(3) + bytes(300_000)
    block = FORMS[form](b64encode(pdf).decode())
    assert 3 * PER_PAGE <= count("claude-haiku-4-5", [HumanMessage([block])]) < 3 * PER_PAGE + 100


def test_what_is_no_pdf_counts_as_the_text_it_is() -> None:
    block = {"type": "file", "base64": "JVBERi_no_base64", "mime_type": "application/pdf"}
    assert 0 < count("claude-haiku-4-5", [HumanMessage([block])]) < 100
