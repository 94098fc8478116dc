"""The journal keeps every line whole: from many processes, across full files, kills and a disk that takes nothing."""

from __future__ import annotations

import gzip
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from budgeted_agents import replay
from budgeted_agents.errors import InvalidJournal, JournalUnavailable
from budgeted_agents.ledgers import TopUp
from budgeted_agents.traces import BudgetEvent, CallRecord, ToppedUp
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.records.journal import VARIABLE, Journal, beside, open_journal, read_journal
from tests.traces.records import appending
from tests.traces.support import SESSION, a_call

ROOT = Path(__file__).parents[3]


def read(journal: Journal | Path) -> tuple[list[object], list[Problems]]:
    problems: list[Problems] = []
    path = journal.path if isinstance(journal, Journal) else journal
    return [line.recorded for line in read_journal(path, problems)], problems


def ids_in(journal: Journal) -> list[str]:
    return [each.id for each in read(journal)[0] if isinstance(each, CallRecord)]


def appender(folder: Path, name: str, count: int, rotate_at: int = 2**26) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", appending.__name__, str(folder), name, str(count), str(rotate_at)]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "spend.db.journal")


def test_what_is_written_is_read_in_order(journal: Journal) -> None:
    event = BudgetEvent("refusal", "no room", "t1", run="r1", at=1_800_000_001.0)
    top_up = ToppedUp(TopUp("up-1", SESSION, 500, "ada", "more work", 1_800_000_002.0), 10**9, "t1")
    journal.call(a_call())
    journal.event(event)
    journal.top_up(top_up)
    assert read(journal) == ([a_call(), event, top_up], [])


def test_nothing_is_made_before_the_first_line(journal: Journal) -> None:
    assert not journal.path.exists()


def test_many_processes_and_threads_lose_and_mix_nothing(journal: Journal) -> None:
    count, rotate_at = 60, 200_000
    workers = [appender(journal.path, f"worker-{number}", count, rotate_at) for number in range(4)]
    assert [worker.wait(60) for worker in workers] == [0] * 4
    found, problems = read(journal)
    assert problems == []
    wanted = {
        f"worker-{number}-{thread}-{each}"
        for number in range(4)
        for thread in range(appending.THREADS)
        for each in range(count)
    }
    assert sorted(each.id for each in found if isinstance(each, CallRecord)) == sorted(wanted)
    sizes = [file.stat().st_size for file in journal.files()]
    assert len(sizes) > 10
    assert min(sizes[:-1]) >= rotate_at


def test_a_killed_process_costs_no_line_but_the_one_it_was_writing(journal: Journal) -> None:
    victims = [appender(journal.path, f"victim-{number}", 10**6) for number in range(2)]
    for victim in victims:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "begun\n"
    for victim in victims:
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait(30)
    journal.call(a_call(id="afterward"))
    found = ids_in(journal)
    assert found[-1] == "afterward"
    for name in {id.rpartition("-")[0] for id in found[:-1]}:  # one thread's lines, without a gap
        own = [id for id in found if id.startswith(f"{name}-")]
        assert own == [f"{name}-{number}" for number in range(len(own))]


def test_a_cut_off_line_is_passed_over_and_the_next_begins_anew(journal: Journal) -> None:
    journal.call(a_call(id="whole"))
    (file,) = journal.files()
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:700])
    problems = read(journal)[1]
    assert (ids_in(journal), [str(each) for each in problems[0].kept]) == (["whole"], [f"{file}:2: is cut off"])
    journal.call(a_call(id="next"))
    assert ids_in(journal) == ["whole", "next"]


def test_a_line_written_behind_one_that_was_cut_off_just_then_is_read(journal: Journal) -> None:
    """Its writer had looked before the other one died."""
    journal.call(a_call(id="whole"))
    (file,) = journal.files()
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:700] + whole.replace(b"whole", b"other") + whole.replace(b"whole", b"after"))
    assert ids_in(journal) == ["whole", "other", "after"]
    assert [each.line for each in read(journal)[1][0].kept] == [2]
    assert sum(session.figures.calls for session in replay([journal.path]).sessions) == 3


def test_a_file_that_is_full_is_followed_by_the_next(tmp_path: Path) -> None:
    small = Journal(tmp_path / "journal", rotate_at=6_000)
    for number in range(10):
        small.call(a_call(id=str(number)))
    assert len(small.files()) > 2
    assert ids_in(small) == [str(number) for number in range(10)]
    again = Journal(small.path, rotate_at=6_000)
    again.call(a_call(id="10"))
    assert ids_in(again)[-1] == "10"


@pytest.mark.parametrize(("pack", "ending"), [(gzip.compress, ".gz"), (zstandard.ZstdCompressor().compress, ".zst")])
def test_files_that_somebody_packed_are_read_and_not_begun_again(
    tmp_path: Path, pack: Callable[[bytes], bytes], ending: str
) -> None:
    small = Journal(tmp_path / "journal", rotate_at=6_000)
    for number in range(8):
        small.call(a_call(id=str(number)))
    full = small.files()
    for file in full:
        file.with_name(file.name + ending).write_bytes(pack(file.read_bytes()))
        file.unlink()
    again = Journal(small.path, rotate_at=6_000)
    again.call(a_call(id="8"))
    assert ids_in(again) == [str(number) for number in range(9)]
    packed = small.files()[0]
    packed.write_bytes(packed.read_bytes()[:-9])
    assert "is cut off" in str(read(again)[1][0].kept[-1])


def test_a_folder_that_is_removed_is_made_again(journal: Journal) -> None:
    journal.call(a_call(id="one"))
    journal.files()[0].unlink()
    journal.path.rmdir()
    journal.call(a_call(id="two"))
    assert ids_in(journal) == ["two"]


def full_disk(journal: Journal, calls: int, bytes_left: int) -> int:
    """Write in a child whose files may not grow beyond what is left; the number of calls that could not be written."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, bytes_left))
        refused = 0
        for number in range(calls):
            try:
                journal.call(a_call(id=f"child-{number}"))
            except JournalUnavailable:
                refused += 1
        os._exit(refused)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_full_disk_is_told_and_later_lines_are_whole(journal: Journal) -> None:
    assert full_disk(journal, calls=5, bytes_left=6_000) == 3
    journal.call(a_call(id="later"))
    assert ids_in(journal) == ["child-0", "child-1", "later"]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(JournalUnavailable, match=r"taken cannot be written .*journal=False"):
        Journal(tmp_path / "taken").call(a_call())


def test_text_that_is_no_unicode_is_told(journal: Journal) -> None:
    with pytest.raises(JournalUnavailable):
        journal.call(a_call(model_billed="\ud800"))


def test_a_ledger_in_a_file_has_its_journal_beside_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/spend.db"
    assert open_journal(None, url) == open_journal(True, url) == Journal(tmp_path / "spend.db.journal")
    (tmp_path / "link.db").symlink_to("spend.db")
    assert open_journal(None, f"sqlite:///{tmp_path}/link.db") == open_journal(None, url)
    assert beside("memory://") is None
    assert open_journal(None, "memory://") is None
    assert open_journal(False, url) is None


def test_a_journal_may_be_elsewhere(tmp_path: Path) -> None:
    wanted = Journal(tmp_path / "elsewhere")
    assert open_journal(tmp_path / "elsewhere", "memory://") == open_journal(wanted, "memory://") == wanted


def test_the_environment_speaks_where_the_code_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/spend.db"
    monkeypatch.setenv(VARIABLE, str(tmp_path / "all"))
    assert open_journal(None, url) == open_journal(None, "memory://") == Journal(tmp_path / "all")
    assert open_journal(tmp_path / "own", url) == Journal(tmp_path / "own")
    monkeypatch.setenv(VARIABLE, "off")
    assert open_journal(None, url) is None


def test_the_code_speaks_before_the_url_and_the_url_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/spend.db"
    named, none = f"{url}?journal={tmp_path}/a%20b", f"{url}?journal=OFF"
    own = Journal(tmp_path / "own")
    for said in (str(tmp_path / "all"), "off", ""):
        monkeypatch.setenv(VARIABLE, said)
        assert open_journal(None, named) == open_journal(True, named) == Journal(tmp_path / "a b")
        assert open_journal(None, none) is None
        assert open_journal(own.path, named) == open_journal(own.path, none) == own
        assert open_journal(False, named) is open_journal("off", named) is None
    assert beside(named) == tmp_path / "spend.db.journal"


@pytest.mark.parametrize("named", ["no/such/folder", __file__])
def test_what_cannot_be_a_journal_is_refused_wherever_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    with pytest.raises(InvalidJournal, match="open_journal: journal="):
        open_journal(None, f"sqlite:///{tmp_path}/spend.db?journal={named}")
    monkeypatch.setenv(VARIABLE, named)
    with pytest.raises(InvalidJournal, match="open_journal: journal="):
        open_journal(None, f"sqlite:///{tmp_path}/spend.db")


@pytest.mark.parametrize("bad", ["", 3, "no/such/folder", __file__, "a\0b"])
def test_what_cannot_be_a_journal_is_refused(bad: object) -> None:
    with pytest.raises(InvalidJournal, match="open_journal: journal="):
        open_journal(bad, "memory://")  # type: ignore[arg-type]


def test_what_is_no_journal_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidJournal, match="is no journal"):
        read(tmp_path)
