"""Ids of attempts: never the same twice, in a process or in one that was forked from it."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from budgeted_agents.meter import new_id

_FORKED = """
import os
from budgeted_agents.meter import new_id
new_id()
reader, writer = os.pipe()
if os.fork() == 0:
    os.write(writer, new_id().encode())
    os._exit(0)
os.wait()
print(os.read(reader, 100).decode(), new_id())
"""
OF_THE_PROCESS = slice(16, None)
"""The half of an id that is the same for all ids of a process."""


def test_threads_get_different_ids() -> None:
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda _: new_id(), range(10_000)))
    assert len({id[:16] for id in ids}) == 10_000
    assert {len(id) for id in ids} == {32}


def test_a_forked_process_gets_ids_of_its_own() -> None:
    answer = subprocess.run([sys.executable, "-c", _FORKED], capture_output=True, text=True, check=True)
    child, parent = answer.stdout.split()
    assert child[OF_THE_PROCESS] != parent[OF_THE_PROCESS]
