"""Replay of a folder of Claude Code transcripts, beside ccusage's native version on the same folder in the same run.

    npm install --prefix FOLDER ccusage @ccusage/ccusage-linux-x64
    python -m benchmarks.transcripts FOLDER

Both are whole processes that read every file, count each message once and price it: once many short sessions, once a
few long ones. Their totals have to be the same, and replay has to read at least twice as many lines a second. Without
ccusage the script measures replay alone and leaves with 1.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from benchmarks.support.bytecode import compile_package

SHORT = 2_000, 18
LONG = 20, 1_550
"""Sessions, and answers in each. With all that stands between them, 18 answers make 116 lines, about as many as most
real sessions have."""

GOAL = 2.0
ROUNDS = 3
REPLAY = """
import json, sys
from budgeted_agents.traces.audit.scan import scan

if __name__ == "__main__":
    sessions = scan(sys.argv[1:]).audit.sessions.values()
    print(json.dumps([sum(getattr(session, name) for session in sessions) for name in ("input", "cached", "output")]))
"""
MODELS = ("claude-opus-4-5-20251101", "claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001")
Line = dict[str, Any]


class Session:
    """The lines of one session, as Claude Code writes them: a line for each block of each message.

    Args:
        number: makes ids and figures, always the same ones.
    """

    def __init__(self, number: int) -> None:
        self._chance = random.Random(number)
        self.id = self._uuid()
        self._parent: str | None = None
        self._second = 1_780_000_000 + 3600 * (number % 2000)

    def lines(self, messages: int) -> Iterator[Line]:
        """A session's worth of lines, with so many answers."""
        yield {"type": "summary", "summary": "x" * 40, "leafUuid": self._uuid()}
        for number in range(messages):
            if number % 5 == 0:
                yield {"type": "file-history-snapshot", "messageId": self._uuid(), "snapshot": {}}
                yield self._line("user", message={"role": "user", "content": "x" * 80})
            yield from self._answer(is_last=number == messages - 1)

    def _answer(self, is_last: bool) -> Iterator[Line]:
        message, request = f"msg_{self._chance.getrandbits(96):024x}", f"req_{self._chance.getrandbits(96):024x}"
        usage, model = self._usage(), self._chance.choice(MODELS)
        blocks = [{"type": "thinking", "thinking": "x" * 120}, {"type": "text", "text": "x" * 80}, self._tool_use()]
        for number, block in enumerate(blocks, 1):
            body = {"id": message, "type": "message", "role": "assistant", "model": model, "content": [block]}
            stop = "tool_use" if number == len(blocks) else None
            yield self._line("assistant", requestId=request, message={**body, "stop_reason": stop, "usage": usage})
            if number < len(blocks):
                yield self._line("progress", data={"type": "hook_progress", "hookName": "x" * 20})
        if not is_last:
            result = {"type": "tool_result", "tool_use_id": blocks[-1]["id"], "content": "x" * 400}
            yield self._line("user", message={"role": "user", "content": [result]}, toolUseResult={"stdout": "x" * 400})

    def _usage(self) -> dict[str, Any]:
        short, long = self._chance.choice(((self._count(4000), 0), (0, self._count(4000))))
        return {
            "input_tokens": self._count(20),
            "cache_creation_input_tokens": short + long,
            "cache_read_input_tokens": self._count(60_000),
            "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
            "output_tokens": self._count(900),
            "service_tier": "standard",
        }

    def _tool_use(self) -> dict[str, Any]:
        arguments = {"file_path": f"/src/file_{self._count(40)}.py"}
        return {
            "type": "tool_use",
            "id": f"toolu_{self._chance.getrandbits(96):024x}",
            "name": "Read",
            "input": arguments,
        }

    def _line(self, kind: str, **body: Any) -> Line:
        self._second += 1
        line = {
            "parentUuid": self._parent,
            "isSidechain": False,
            "userType": "external",
            "cwd": "~/someone/project",
            "sessionId": self.id,
            "version": "2.1.37",
            "gitBranch": "main",
            "type": kind,
            **body,
            "uuid": self._uuid(),
            "timestamp": _iso(self._second),
        }
        self._parent = line["uuid"]
        return line

    def _count(self, most: int) -> int:
        return self._chance.randrange(most)

    def _uuid(self) -> str:
        text = f"{self._chance.getrandbits(128):032x}"
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _iso(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write(folder: Path, sessions: int, messages: int) -> int:
    """Transcripts as Claude Code lays them out, one in ten resumed, which repeats its lines; the number of lines."""
    lines = 0
    for number in range(sessions):
        project = folder / "projects" / f"-home-someone-project-{number % 20}"
        project.mkdir(parents=True, exist_ok=True)
        session = Session(number)
        written = [json.dumps(line, separators=(",", ":")) for line in session.lines(messages)]
        copies = (session.id, f"{session.id[:-4]}beef") if number % 10 == 0 else (session.id,)
        for name in copies:
            (project / f"{name}.jsonl").write_text("\n".join(written) + "\n")
            lines += len(written)
    return lines


class Totals(NamedTuple):
    """Tokens that one of the two has counted; the input includes what was read from and written to a cache."""

    input: int
    cached: int
    output: int


def replay(root: Path) -> Totals:
    """What a process that replays the folder says."""
    return Totals(*json.loads(_output(sys.executable, "-c", REPLAY, str(root / "projects"))))


def ccusage(program: Path, root: Path) -> Totals:
    """What ccusage says."""
    told = json.loads(_output(str(program), "claude", "session", "--json", "--offline", CLAUDE_CONFIG_DIR=str(root)))
    totals = told["totals"]
    inputs = totals["inputTokens"] + totals["cacheCreationTokens"] + totals["cacheReadTokens"]
    return Totals(inputs, totals["cacheReadTokens"], totals["outputTokens"])


def _output(*command: str, **environment: str) -> str:
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True).stdout


def _installed(folder: Path) -> Path | None:
    """The native program; npm leaves it to ccusage's launcher to make it executable."""
    program = next(folder.glob("node_modules/@ccusage/ccusage-*/bin/ccusage"), None)
    if program is not None:
        program.chmod(0o755)
    return program


def _measure(name: str, lines: int, run: Callable[[], Totals]) -> tuple[float, Totals]:
    """Lines a second, the best of some rounds, so that a busy machine does not decide; and the processors' time."""
    rounds = []
    for _ in range(ROUNDS):
        start, busy = perf_counter(), _children()
        totals = run()
        rounds.append((perf_counter() - start, _children() - busy))
    wall, busy = min(rounds)
    rate = lines / wall
    print(f"{name:10} {rate:12,.0f} lines/s {wall:8.2f} s {busy:8.2f} s of processors  {totals}")
    return rate, totals


def _children() -> float:
    """Seconds that processes which have ended have kept processors busy."""
    times = os.times()
    return times.children_user + times.children_system


def compare(program: Path | None, sessions: int, messages: int) -> bool:
    """Whether replay reaches its goal on such a folder; prints a line for each."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        lines = write(root, sessions, messages)
        print(f"{lines:,} lines in {sum(1 for _ in root.rglob('*.jsonl')):,} files")
        ours, our_totals = _measure("replay", lines, lambda: replay(root))
        if program is None:
            return False
        theirs, their_totals = _measure("ccusage", lines, lambda: ccusage(program, root))
    print(f"x {ours / theirs:.2f} (goal {GOAL}); totals {'agree' if our_totals == their_totals else 'DIFFER'}")
    return ours >= GOAL * theirs and our_totals == their_totals


def main() -> None:
    """Leave with 1 if totals differ, the goal is missed, or there is no ccusage."""
    program = _installed(Path(sys.argv[1])) if len(sys.argv) > 1 else None
    compile_package()
    reached = [compare(program, *shape) for shape in (SHORT, LONG)]
    if program is None:
        sys.exit(f"ccusage is not installed. See the top of {__file__} for how to get it.")
    sys.exit(not all(reached))


if __name__ == "__main__":
    main()
