"""Scanning: each call once, whoever reads it; files of every packing; what is passed over is told with its place."""

from __future__ import annotations

import codecs
import gzip
import io
import random
import subprocess
import sys
import zipfile
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from budgeted_agents.errors import InvalidPrice, InvalidTrace
from budgeted_agents.prices import DatedPrices, PriceBook
from budgeted_agents.traces.audit import folding
from budgeted_agents.traces.audit import scan as scanning
from budgeted_agents.traces.audit.folding import FileResult
from budgeted_agents.traces.audit.scan import Scan, scan, trace_calls
from budgeted_agents.traces.audit.seen import Keys, Seen
from budgeted_agents.traces.files import FileSource, find_files
from budgeted_agents.traces.formats.registry import Formats
from tests.traces.formats.otlp_lines import chat, line, span, write


def prices() -> DatedPrices:
    return DatedPrices(PriceBook({"gpt-4o-2024-08-06": {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}}))


def totals(result: Scan) -> dict[str, tuple[int, int, int, int]]:
    """Calls, tools and cost by session."""
    return {
        name: (session.calls, session.tool_calls, session.input, session.cost)
        for name, session in sorted(result.audit.sessions.items())
    }


def run_lines(number: int) -> Iterator[bytes]:
    """A run: an agent whose span tells nothing of its kind, its calls, one of them instrumented twice, and a tool."""
    trace, session = f"{number:032x}", f"session-{number % 7}"
    usage = {"gen_ai.usage.input_tokens": 400, "gen_ai.usage.output_tokens": 80}
    yield line(span("a" * 16, "", trace, **usage))
    for place in "bcd":
        yield line(chat(place * 16, "a" * 16, trace, gen_ai__conversation__id=session))
    yield line(chat("e" * 16, "d" * 16, trace, gen_ai__conversation__id=session))
    yield line(span("f" * 16, "a" * 16, trace, **{"gen_ai.tool.name": "search", "gen_ai.conversation.id": session}))


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are split as if they were large."""
    monkeypatch.setattr(scanning, "_PART", 20_000)
    monkeypatch.setattr(scanning, "_LARGEST_PART", 20_000)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("most_calls", [30_000, 7], ids=["at once", "a few at a time"])
def test_several_processes_find_what_one_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_calls: int
) -> None:
    """With duplicates, sums and calls within calls far apart, in any order, in parts of one file and in others."""
    monkeypatch.setattr(folding, "_MOST_CALLS", most_calls)
    lines = [each for number in range(60) for each in run_lines(number)]
    random.Random(3).shuffle(lines)
    write(tmp_path / "a.jsonl", *lines, b"{bad\n")
    write(tmp_path / "b.jsonl", *reversed(lines[:150]), b"{bad\n")
    write(tmp_path / "c.jsonl", *lines[100:110])
    alone = scan([tmp_path], prices=prices, workers=1)
    several = scan([tmp_path], prices=prices, workers=2)
    assert totals(alone) == totals(several)
    assert [(file.path, file.calls) for file in alone.files] == [(file.path, file.calls) for file in several.files]
    assert sum(session.calls for session in alone.audit.sessions.values()) == 60 * 3
    assert sum(file.calls for file in alone.files) == 60 * 3  # tools are none
    assert sum(session.cost for session in alone.audit.sessions.values()) == 60 * 3 * 140_000
    places = [problem.place for file in several.files for problem in file.problems.kept]
    assert places == [f"{tmp_path}/a.jsonl:{len(lines) + 1}", f"{tmp_path}/b.jsonl:151"]


def test_an_interruption_ends_all_processes_without_a_word(tmp_path: Path) -> None:
    """As a terminal sends it: to every process of the group, while all of them work."""
    run = [each for number in range(60) for each in run_lines(number)]
    write(tmp_path / "a.jsonl", *run * 200)
    write(tmp_path / "b.jsonl", *run * 200)
    program = """
import os, signal, sys
from budgeted_agents.traces.audit.scan import scan

try:
    scan(sys.argv[1:], workers=2, progress=lambda *_: os.killpg(0, signal.SIGINT))
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "a.jsonl", tmp_path / "b.jsonl"],
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("workers", [1, 2])
def test_twins_and_sessions_are_found_across_the_ends_of_parts(tmp_path: Path, workers: int) -> None:
    lines = []
    for number in range(120):
        trace, usage = f"{number // 4:032x}", {"gen_ai__usage__input_tokens": 100 + number % 7}
        lines.append(line(chat(f"theirs-{number}", "", trace, gen_ai__conversation__id=None, **usage)))
        lines.append(line(chat(f"ours-{number}", "", trace, budget__reservation__id=f"r{number}", **usage)))
    write(tmp_path / "twins.jsonl", *lines)
    agents = []
    for number in range(120):
        trace = f"{1000 + number // 4:032x}"
        agents.append(line(chat(f"call-{number}", "", trace, gen_ai__conversation__id=None)))
        if number % 4 == 3:
            named = {"gen_ai.operation.name": "invoke_agent", "gen_ai.conversation.id": f"session-{number // 4}"}
            agents.append(line(span(f"agent-{number}", "", trace, **named)))
    write(tmp_path / "agents.jsonl", *agents)
    result = scan([tmp_path], prices=prices, workers=workers)
    assert [(Path(file.path).name, file.calls) for file in result.files] == [
        ("agents.jsonl", 120),
        ("twins.jsonl", 120),
    ]
    sessions = {name: session.calls for name, session in result.audit.sessions.items() if name.startswith("session-")}
    assert sessions == {f"session-{number}": 4 for number in range(30)}


def test_a_call_counts_once_across_files_and_names(tmp_path: Path) -> None:
    first = write(tmp_path / "first.jsonl", line(chat("a" * 16)), line(chat("a" * 16)))
    again = write(tmp_path / "again.jsonl", line(chat("a" * 16)), line(chat("b" * 16)))
    result = scan([first, again, first, tmp_path], prices=prices, workers=1)
    assert [(file.path, file.calls) for file in result.files] == [(str(first), 1), (str(again), 1)]
    assert [call.span for call in trace_calls([first, again])] == ["a" * 16, "b" * 16]


@pytest.mark.parametrize("order", [1, -1])
def test_calls_of_ours_are_no_parts_of_the_first_of_their_run(tmp_path: Path, order: int) -> None:
    """Which is their parent where no span was current. What they are part of is another instrumentation's call."""
    run = [line(chat(f"r{n}", "r0" if n else "", budget__reservation__id=f"id-{n}")) for n in range(3)]
    write(tmp_path / "run.jsonl", *run[::order])
    within = [line(chat("theirs")), line(chat("ours", "theirs", budget__reservation__id="id-3"))]
    write(tmp_path / "within.jsonl", *within[::order])
    assert [file.calls for file in scan([tmp_path], prices=prices, workers=1).files] == [3, 1]


def test_every_packing_is_read(tmp_path: Path) -> None:
    contents = [line(chat(f"{number:016x}")) for number in range(5)]
    write(tmp_path / "0.jsonl", contents[0])
    write(tmp_path / "1.jsonl.gz", gzip.compress(contents[1]))
    write(tmp_path / "2.jsonl.zst", zstandard.compress(contents[2]))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("3.jsonl", contents[3])
        archive.writestr("4.jsonl", contents[4])
    write(tmp_path / "3.zip", buffer.getvalue())
    write(tmp_path / ".hidden.jsonl", line(chat("f" * 16)))
    result = scan([str(tmp_path / "*")], prices=prices, workers=1)
    names = ["0.jsonl", "1.jsonl.gz", "2.jsonl.zst", "3.zip!3.jsonl", "3.zip!4.jsonl"]
    assert [(file.path, file.format, file.calls) for file in result.files] == [
        (f"{tmp_path}/{name}", "otlp", 1) for name in names
    ]


def test_members_packed_by_zstd_are_read(tmp_path: Path) -> None:
    """As inspect_ai packs its logs; Python's own zipfile cannot before 3.14, so the archive is made by hand."""
    content = b"hello " * 1000
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.json", zstandard.compress(content))
    made = bytearray(buffer.getvalue())
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        start = made.index(signature) + offset
        made[start : start + 2] = (93).to_bytes(2, "little")
    members = FileSource(write(tmp_path / "a.eval", bytes(made))).members(".json")
    member = next(members)
    assert (member.path, member.document()) == (f"{tmp_path}/a.eval!a.json", content)


def test_files_with_byte_order_marks_that_were_joined_have_all_their_calls(tmp_path: Path) -> None:
    lines = [codecs.BOM_UTF8 + line(chat(place * 16)) for place in "ab"]
    write(tmp_path / "a.jsonl", *lines)
    (result,) = scan([tmp_path], prices=prices).files
    assert (result.calls, result.skipped) == (2, 0)


@example([b"", codecs.BOM_UTF8], 1)
@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=12), st.integers(1, 60))
def test_the_parts_of_a_file_are_its_lines(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], size: int
) -> None:
    path = write(tmp_path_factory.mktemp("parts") / "a", b"\n".join(lines))
    whole = FileSource(path)
    if not whole.can_be_parted:
        return
    parts = [FileSource(path, (start, min(start + size, whole.size))) for start in range(0, whole.size, size)]
    found = [(number + part.lines_before(), line) for part in parts for number, line in part.lines()]
    assert found == list(whole.lines())


def test_seen_calls_go_into_a_file_when_there_are_many() -> None:
    nothing = array("q")
    with Seen(most_in_memory=100) as seen:
        for start in range(-1000, 1000, 50):
            keys = array("q", range(start, start + 50))
            assert seen.take(Keys(keys, keys, are_last=False)) == set()
        assert seen.take(Keys(nothing, array("q", range(-2000, 2000)), are_last=True)) == set(range(-1000, 1000))


@pytest.mark.parametrize(
    "cut_off",
    [
        b'{"schema_version": "ATIF-v1.6", "agent": {"name": "a"}, "steps": [{"step_id": 1,',  # atif
        b'{"info": {"model_stats": {"instance_cost": 1}}, "history": [{"role":',  # swe_agent
        b'{"info": {"mini_version": "2.4.6", "model_stats": {}}, "messages": [{"role":',
    ],
)
def test_a_document_that_was_cut_off_costs_itself(tmp_path: Path, cut_off: bytes) -> None:
    (tmp_path / "a.json").write_bytes(cut_off)
    write(tmp_path / "b.jsonl", line(chat("a" * 16)))
    found, files = scan([tmp_path], prices=prices).files, list[FileResult]()
    assert [(file.calls, file.skipped) for file in found] == [(0, 1), (1, 0)]
    assert "is no JSON" in str(found[0].problems.kept[0])
    assert len(list(trace_calls([tmp_path], files=files))) == 1
    assert [file.skipped for file in files] == [1, 0]


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", b"\n \n")
    write(tmp_path / "b.jsonl", b"no trace")
    empty, unknown = (str(file.problems.kept[0]) for file in scan([tmp_path], prices=prices).files)
    assert empty.endswith("a.jsonl: is empty")
    assert "is in no known format" in unknown


@pytest.mark.parametrize("at_once", [1, 7, 10_000])
def test_taking_calls_one_by_one_finds_what_a_scan_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """With duplicates, sums and calls within calls far apart; only so many calls are looked at together."""
    monkeypatch.setattr(scanning, "_AT_ONCE", at_once)
    lines = [each for number in range(20) for each in run_lines(number)]
    random.Random(3).shuffle(lines)
    write(tmp_path / "a.jsonl", *lines)
    write(tmp_path / "b.jsonl", *reversed(lines[:50]))
    counted = Counter(call.session for call in trace_calls([tmp_path]) if call.kind == "model")
    assert counted == {name: session[0] for name, session in totals(scan([tmp_path], prices=prices)).items()}
    assert counted.total() == 20 * 3


def test_what_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidTrace, match="there is no such file or folder"):
        scan([tmp_path / "none"], prices=prices)
    with pytest.raises(InvalidTrace, match="there is no such format"):
        scan([tmp_path], format="none", prices=prices)
    with pytest.raises(InvalidTrace, match="neither a file nor a folder"):
        list(find_files(["/dev/null"]))


def test_a_format_that_cannot_be_loaded_costs_only_itself(tmp_path: Path) -> None:
    formats = Formats(
        {
            "broken": "a_module_that_is_not_there:FORMAT",
            "otlp": "budgeted_agents.traces.formats.otlp:FORMAT",
        }
    )
    found = formats.of(FileSource(write(tmp_path / "a", line(chat("a" * 16)))))
    assert found is not None
    assert found.name == "otlp"
    assert formats.warnings == [
        "format 'broken' (a_module_that_is_not_there:FORMAT) cannot be loaded: "
        "No module named 'a_module_that_is_not_there'"
    ]


def test_a_users_own_formats_come_first() -> None:
    ours = "budgeted_agents.traces.formats.otlp:FORMAT"
    assert Formats({"a": ours, "c": "own.module:FORMAT", "b": "own.module:FORMAT"}).names == ["b", "c", "a"]


def test_a_file_with_several_names_is_read_once(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", b"{}\n")
    (tmp_path / "b.jsonl").hardlink_to(first)
    (tmp_path / "c.jsonl").symlink_to(first)
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "none")
    assert list(find_files([tmp_path, first])) == [first]


@pytest.mark.parametrize("lines", [10, 40_000], ids=["kept while it is looked at", "read in blocks"])
def test_small_and_large_files_have_all_their_lines(tmp_path: Path, lines: int) -> None:
    source = FileSource(write(tmp_path / "a", *(b"%08d\n" % number for number in range(lines))))
    assert source.head.startswith(b"00000000\n")
    assert [line for _, line in source.lines()] == [b"%08d" % number for number in range(lines)]


def test_zstd_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    packed = write(tmp_path / "a.zst", b"\x28\xb5\x2f\xfd" + bytes(20))
    (file,) = scan([packed], prices=prices, workers=1).files
    assert "pip install 'budgeted-agents[replay]'" in file.problems.kept[0].message


def test_a_worker_that_dies_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(InvalidTrace, match="the process that read it ended"):
        scan([write(tmp_path / "a", line(chat("a" * 16)))], prices=prices, workers=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_prices_that_cannot_be_loaded_are_an_error(workers: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a", line(chat("a" * 16)))
    with pytest.raises(InvalidPrice, match="cannot be read"):
        scan([path], prices=lambda: DatedPrices.load(tmp_path / "none"), workers=workers)
