"""Ledgers by URL: what opens, and what is refused with its remedy before anything is made."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from budgeted_agents.errors import InvalidLedger, LedgerError
from budgeted_agents.ledgers import Account, Hold, MemoryLedger, open_ledger
from budgeted_agents.ledgers.sqlite import SqliteLedger
from budgeted_agents.ledgers.sqlite.location import network_file_system
from budgeted_agents.ledgers.urls import is_off, is_same_place, parsed, place_of

ACCOUNT = Account("session")


def test_memory_is_new_each_time_and_shared_by_name_until_closed() -> None:
    assert isinstance(open_ledger("memory://"), MemoryLedger)
    assert open_ledger("memory://") is not open_ledger("memory://")
    shared = open_ledger("memory://tests-1")
    assert open_ledger(shared.url) is shared
    shared.close()
    assert open_ledger("memory://tests-1") is not shared


def test_a_relative_path_is_made_absolute_so_that_its_url_works_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ledger = open_ledger("sqlite:///spend.db")
    ledger.credit("c", ACCOUNT, 5, limit=10, now=1)
    monkeypatch.chdir("/")
    again = open_ledger(ledger.url)
    assert isinstance(again, SqliteLedger)
    assert ledger.url == f"sqlite:///{tmp_path}/spend.db"
    assert again.balances([ACCOUNT])[0].limit == 15


@pytest.mark.parametrize(
    ("said", "journal"),
    [("calls", "calls"), ("a b%26c", "a b&c"), ("../%C3%A9", "../é"), ("/var/log/spend", "/var/log/spend")],
)
@pytest.mark.parametrize("place", ["memory://", "sqlite:///spend.db"])
def test_a_journal_that_a_url_names_is_in_the_url_of_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, said: str, journal: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ledger = open_ledger(f"{place}?journal={said}")
    monkeypatch.chdir("/")
    for known in (ledger, open_ledger(ledger.url)):
        assert parsed(known.url).journal == str(tmp_path / journal)
        assert place_of(known.url) == place.replace("spend.db", f"{tmp_path}/spend.db")


def test_urls_of_one_file_name_the_same_money(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to("spend.db")
    place = f"sqlite:///{tmp_path}/spend.db"
    assert is_same_place(place, f"{place}?journal=off")
    assert is_same_place(place, f"sqlite:///{tmp_path}/link.db")
    assert not is_same_place(place, f"sqlite:///{tmp_path}/other.db")
    assert not is_same_place("memory://", "memory://")
    assert is_same_place("memory://a", "memory://a?journal=off")
    assert not is_same_place("memory://a", place)


def test_a_url_may_want_no_journal() -> None:
    ledger = open_ledger("memory://?journal=Off")
    assert (ledger.url, is_off(parsed(ledger.url).journal)) == ("memory://?journal=Off", True)


def test_a_shared_ledger_has_one_journal(tmp_path: Path) -> None:
    shared = open_ledger(f"memory://with-a-journal?journal={tmp_path}/a")
    assert open_ledger("memory://with-a-journal") is open_ledger(shared.url) is shared
    with pytest.raises(InvalidLedger, match="is open already, as memory://with-a-journal"):
        open_ledger(f"memory://with-a-journal?journal={tmp_path}/b")
    shared.close()


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("", "sqlite:///spend.db"),
        (None, "sqlite:///spend.db"),
        (Path("spend.db"), "sqlite:///spend.db"),
        ("spend.db", "sqlite:///spend.db"),
        ("sqllite:///spend.db", "sqlite:///spend.db"),
        ("SQLITE:///spend.db", "sqlite:///spend.db"),
        ("sqlite:/spend.db", "sqlite:///spend.db"),
        ("sqlite://spend.db", "sqlite:///spend.db"),
        ("sqlite://", "memory://"),
        ("sqlite:///", "sqlite:///spend.db"),
        ("sqlite:///folder/", "sqlite:///spend.db"),
        ("sqlite://:memory:", "memory://"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:///spend.db?mode=ro", "?journal="),
        ("sqlite:///spend.db?", "?journal="),
        ("sqlite:///spend.db?journal", "?journal=off"),
        ("sqlite:///spend.db?journal=", "?journal=off"),
        ("sqlite:///spend.db?journal=%00", "?journal=off"),
        ("sqlite:///spend.db?journal=a&journal=b", "once"),
        ("sqlite:///spend.db?journal=a&mode=ro", "once"),
        ("sqlite:///?journal=calls", "sqlite:///spend.db"),
        ("memory://?mode=ro", "?journal="),
        ("sqlite:///spend\0.db", "path of a file"),
        ("sqlite:///spend#1.db", "path of a file"),
        ("memroy://", "memory://"),
        ("memory:", "memory://"),
        ("memory://a/b", "memory://tests"),
        ("redis://localhost:6379/0", "sqlite:///spend.db"),
        ("rediss://localhost", "sqlite:///spend.db"),
        ("redis+sentinel://localhost", "sqlite:///spend.db"),
        ("postgres://localhost/db", "memory://"),
    ],
)
def test_a_wrong_url_says_what_to_write(url: Any, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidLedger) as caught:
        open_ledger(url)
    assert remedy in caught.value.remedy
    assert caught.value.value == url
    assert list(tmp_path.iterdir()) == []


def test_a_directory_and_a_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(InvalidLedger, match="is a directory"):
        open_ledger(f"sqlite:///{tmp_path}")
    with pytest.raises(InvalidLedger, match="directory does not exist"):
        open_ledger(f"sqlite:///{tmp_path}/missing/spend.db")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_may_not_be_written() -> None:
    """In a process without root's rights, which would override the directory's."""
    script = (
        "import os, pathlib, tempfile\n"
        "from budgeted_agents.errors import InvalidLedger\n"
        "from budgeted_agents.ledgers import open_ledger\n"
        "from budgeted_agents.ledgers.sqlite import SqliteLedger\n"
        "folder = pathlib.Path(tempfile.mkdtemp())\n"
        "folder.chmod(0o555)\n"
        "os.getuid() or os.setuid(65534)\n"
        "try:\n"
        "    open_ledger(f'sqlite:///{folder}/spend.db')\n"
        "except InvalidLedger as error:\n"
        "    print(error.problem, list(folder.iterdir()))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "this process may not write it []\n"


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be one\n" * 100)
    before = path.read_bytes()
    with pytest.raises(InvalidLedger, match="is not a database"):
        open_ledger(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_another_programs_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE checkpoints (id)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(InvalidLedger, match="another program"):
        open_ledger(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_file_of_a_newer_version_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "spend.db"
    open_ledger(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=r"schema 99.*Upgrade"):
        open_ledger(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_file_of_an_older_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "spend.db"
    open_ledger(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as db:
        db.executescript("DROP TABLE credits; DROP TABLE notes; DROP TABLE forgotten; PRAGMA user_version = 1;")
    db.close()
    ledger = open_ledger(f"sqlite:///{path}")
    ledger.note("s", {}, now=1)
    assert ledger.credit("c", ACCOUNT, 5, limit=10, now=1).limit == 15
    ledger.reserve("a", [Hold(ACCOUNT, 10, 1)], floor=0, ask=0, now=1, ttl=1)
    ledger.close()


MOUNTS = """\
/dev/vda / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/export /mnt/nfs nfs4 rw 0 0
//server/share /mnt/with\\040space cifs rw 0 0
bucket /mnt/nfs/local/s3 fuse.s3fs rw 0 0
/dev/vdb /mnt/nfs/local ext4 rw 0 0
/dev/sdc1 /mnt/usb fuseblk rw 0 0
drvfs /mnt/c 9p rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/app/spend.db", None),
        ("/mnt/nfs/spend.db", "nfs4"),
        ("/mnt/nfs/a/b/spend.db", "nfs4"),
        ("/mnt/nfs2/spend.db", None),
        ("/mnt/with space/spend.db", "cifs"),
        ("/mnt/nfs/local/spend.db", None),
        ("/mnt/nfs/local/s3/spend.db", "fuse.s3fs"),
        ("/mnt/usb/spend.db", None),
        ("/mnt/c/spend.db", "9p"),
    ],
)
def test_network_file_systems_are_recognized(path: str, kind: str | None) -> None:
    assert network_file_system(Path(path), MOUNTS) == kind
