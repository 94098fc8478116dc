"""The documents: the right passage is found, and nothing outside the folder is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphs.documents import MAX_CHARACTERS, MAX_FILE_BYTES, DocumentError, Documents


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "policies").mkdir(parents=True)
    (folder / "policies" / "refunds.md").write_text("# Refunds\n\nA customer may return goods within 30 days.\n")
    (folder / "shipping.txt").write_text("Parcels leave the warehouse at noon.\n" + "More on parcels.\n" * 200)
    (folder / ".hidden.md").write_text("secret refund codes")
    (folder / "picture.png").write_bytes(b"refunds")
    (folder / "huge.md").write_text("refunds " * (MAX_FILE_BYTES // 8 + 1))
    (tmp_path / "secret.md").write_text("secret refund codes")
    (folder / "way_out.md").symlink_to(tmp_path / "secret.md")
    (folder / "way_around").symlink_to(tmp_path, target_is_directory=True)
    (folder / "circle.md").symlink_to(folder / "circle.md")
    return folder


def test_only_documents_of_the_folder_are_indexed(folder: Path) -> None:
    assert Documents(folder).files == ["policies/refunds.md", "shipping.txt"]


def test_the_best_passage_comes_first_with_its_line(folder: Path) -> None:
    (folder / "other.md").write_text("Intro.\n\n## Returns of customers\nGoods without a customer's receipt stay.\n")
    first, second = Documents(folder).search("return goods within days")
    assert (first.file, first.line) == ("policies/refunds.md", 1)
    assert (second.file, second.line) == ("other.md", 3)
    assert "30 days" in first.text


def test_a_search_without_a_match_finds_nothing(folder: Path) -> None:
    assert Documents(folder).search("secret zebra") == []
    assert Documents(folder).search("") == []


def test_the_number_of_hits_is_limited(folder: Path) -> None:
    assert len(Documents(folder).search("parcels", limit=2)) == 2


def test_what_a_tool_returns_is_bounded_whatever_the_file(tmp_path: Path) -> None:
    (tmp_path / "line.txt").write_text("word " * 100_000)
    documents = Documents(tmp_path)
    assert len(documents.search("word")[0].text) == MAX_CHARACTERS
    assert len(documents.read("line.txt").text) == MAX_CHARACTERS


def test_a_section_is_read_from_its_line(folder: Path) -> None:
    documents = Documents(folder)
    assert documents.read("shipping.txt").text.count("\n") == 79
    assert documents.read("shipping.txt", 200, lines=99_999).text == "More on parcels.\nMore on parcels."
    assert documents.read("policies/refunds.md", 3, lines=1).text == "A customer may return goods within 30 days."


@pytest.mark.parametrize("line", [0, -1, 202])
def test_a_line_that_is_not_there_is_refused(folder: Path, line: int) -> None:
    with pytest.raises(DocumentError, match="lines 1 to 201"):
        Documents(folder).read("shipping.txt", line)


@pytest.mark.parametrize(
    "file",
    [
        "../secret.md",
        "policies/../../secret.md",
        "way_out.md",
        "way_around/secret.md",
        "circle.md",
        ".hidden.md",
        "picture.png",
        "huge.md",
        "policies",
        "",
        ".",
        "/etc/hostname",
        "nothing.md",
        "shipping.txt\0.md",
        "x" * 5_000 + ".md",
    ],
)
def test_nothing_but_its_documents_is_read(folder: Path, file: str) -> None:
    with pytest.raises(DocumentError, match="There is no document"):
        Documents(folder).read(file)


def test_an_absolute_path_is_refused_even_of_a_secret_next_door(folder: Path) -> None:
    with pytest.raises(DocumentError, match="There is no document"):
        Documents(folder).read(str(folder.parent / "secret.md"))


def test_a_folder_is_required(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="not a folder"):
        Documents(tmp_path / "nowhere")


def test_an_empty_folder_has_no_hits(tmp_path: Path) -> None:
    assert Documents(tmp_path).search("anything") == []
