"""The doctor finds what is wrong with real applications, says nothing against good ones, and touches nothing."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_openai import ChatOpenAI

from budgeted_agents.cli import main
from budgeted_agents.doctor import Diagnosis, examine, load_app
from budgeted_agents.doctor.loading import QUESTION
from budgeted_agents.errors import InvalidGraph
from budgeted_agents.ledgers import open_ledger
from tests.doctor.apps import good

CHECKOUT = Path(__file__).resolve().parents[2]
GOOD, BAD = "tests.doctor.apps.good", "tests.doctor.apps.bad"


def diagnosis_of(spec: str, **arguments: Any) -> Diagnosis:
    return examine(load_app(spec), name=spec, **arguments)


def serious(diagnosis: Diagnosis) -> set[str]:
    return {finding.code for finding in diagnosis.findings if finding.severity != "note"}


@pytest.mark.parametrize(
    ("app", "ending"),
    [("app", "landed"), ("wrapped", "landed"), ("agent_with_middleware", "landed"), ("chain", "raised BudgetExceeded")],
)
def test_a_good_application_is_clean_and_its_cap_is_proved(app: str, ending: str) -> None:
    diagnosis = diagnosis_of(f"{GOOD}:{app}")
    assert serious(diagnosis) == set()
    assert diagnosis.is_clean
    assert diagnosis.proof is not None
    assert diagnosis.proof.holds
    assert diagnosis.proof.refusal
    assert diagnosis.proof.cost_made < diagnosis.proof.cost
    assert ending in diagnosis.proof.ending


def test_nothing_of_the_application_is_touched() -> None:
    ledger = open_ledger(good.LEDGER)
    before, saved = ledger.accounts(), dict(good.app.checkpointer.storage)
    meter = good.app.settings.meter
    attributes = dict(vars(meter))
    diagnosis_of(f"{GOOD}:app")
    assert ledger.accounts() == before
    assert good.app.checkpointer.storage == saved
    assert vars(meter) == attributes
    assert all(type(model) is ChatOpenAI for model in good.models)
    assert type(good.delete_everything).__name__ == "StructuredTool"
    assert type(good.delete_everything)._run.__module__.startswith("langchain_core")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass  # the network is open again
    ledger.close()


FAULTS: dict[str, set[str]] = {
    "sdk": {"unmetered-call"},
    "async_sdk": {"unmetered-call"},
    "by_hand": {"unmetered-call"},
    "raw_thread": {"unmetered-model", "cap-not-held"},
    "retrying": {"sdk-retries"},
    "no_usage": {"usage-missing"},
    "no_price": {"price-missing"},
    "embedding": {"not-examined"},
    "embedding_past": {"unmetered-call"},
    "failing": {"app-failed"},
    "exiting": {"app-failed"},
    "exiting_on_the_loop": {"app-failed"},
    "exiting_chain": {"app-failed"},
    "looking_up": set(),
    "in_memory": {"memory-ledger"},
    "watching": {"shadow"},
    "no_spend_limit": {"no-spend-limit"},
    "unsafe_checkpoints": {"unsafe-checkpoints"},
    "pickles": {"pickle"},
    "suspends": {"suspend-without-checkpoints"},
    "suspends_in_memory": {"memory-checkpoints"},
    "ungoverned": {"ungoverned"},
    "chain": {"ungoverned"},
    "counted_chain": {"no-budget"},
    "no_model": {"no-model-call"},
}


@pytest.mark.parametrize("app", FAULTS)
def test_each_fault_is_found_and_no_other(app: str) -> None:
    diagnosis = diagnosis_of(f"{BAD}:{app}")
    assert serious(diagnosis) == FAULTS[app]
    assert diagnosis.is_clean is not bool(FAULTS[app])


PLACES = {
    "sdk": ("unmetered-call", "calls_the_sdk"),
    "async_sdk": ("unmetered-call", "calls_the_async_sdk"),
    "by_hand": ("unmetered-call", "calls_by_hand"),
    "raw_thread": ("unmetered-model", "bad.py"),
    "retrying": ("sdk-retries", "makes_its_own_model"),
    "failing": ("app-failed", "fails"),
    "exiting": ("app-failed", "exits"),
    "exiting_on_the_loop": ("app-failed", "exits_on_the_loop"),
    "exiting_chain": ("app-failed", "ends"),
    "looking_up": ("contact", "looks_something_up"),
}


@pytest.mark.parametrize("app", PLACES)
def test_a_finding_names_the_place(app: str) -> None:
    code, place = PLACES[app]
    found = [finding for finding in diagnosis_of(f"{BAD}:{app}").findings if finding.code == code]
    assert found
    assert all(place in finding.where and "bad.py:" in finding.where for finding in found)


def test_the_input_can_be_given() -> None:
    assert diagnosis_of(f"{GOOD}:app", given='{"messages": ["Hello."]}').is_clean
    with pytest.raises(InvalidGraph, match="is not JSON"):
        diagnosis_of(f"{GOOD}:app", given="{")


def test_the_context_and_the_config_can_be_given() -> None:
    good.seen.clear()
    assert diagnosis_of(f"{GOOD}:with_context").is_clean
    assert good.seen[0] == (good.Caller(QUESTION), None, "doctor")
    good.seen.clear()
    config = {"configurable": {"place": "Rome", "thread_id": "t7"}, "metadata": {"tenant": "acme"}}
    diagnosis = diagnosis_of(f"{GOOD}:with_context", context='{"name": "Ada", "age": 36}', config=json.dumps(config))
    assert diagnosis.is_clean
    assert good.seen[0] == (good.Caller("Ada", 36), "Rome", "t7")
    assert diagnosis.proof is not None
    assert "tenant=acme" in diagnosis.proof.refusal


def test_the_steps_of_a_run_can_be_limited() -> None:
    diagnosis = diagnosis_of(f"{GOOD}:app", config='{"recursion_limit": 2}')
    assert "not-reached" in {finding.code for finding in diagnosis.findings}


@pytest.mark.parametrize(
    ("app", "arguments", "message"),
    [
        ("app", {"given": "{"}, "doctor: input='{': is not JSON"),
        ("with_context", {"context": "{"}, "doctor: context='{': is not JSON"),
        ("with_context", {"context": "[]"}, "context='[]': is not a JSON object"),
        ("with_context", {"context": '{"age": 1}'}, "context.name={'age': 1}: does not fit (Field required)"),
        ("with_context", {"context": '{"name": "Ada", "age": "old"}'}, "context.age='old': does not fit"),
        ("app", {"context": '{"name": "Ada"}'}, "is not taken by this app. Leave it out, or compile"),
        ("chain", {"context": '{"name": "Ada"}'}, "is not taken by this app. Leave it out, or compile"),
        ("app", {"config": "{"}, "doctor: config='{': is not JSON"),
        ("app", {"config": "3"}, "doctor: config='3': is not a JSON object"),
        ("app", {"config": '{"callbacks": []}'}, "config.callbacks=[]: is no part of a config"),
        ("app", {"config": '{"configurable": 7}'}, "config.configurable=7: is not a JSON object"),
        ("app", {"config": '{"tags": "slow"}'}, "config.tags='slow': is not a JSON array"),
    ],
)
def test_what_cannot_be_sent_is_refused(app: str, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidGraph, match=re.escape(message)):
        diagnosis_of(f"{GOOD}:{app}", **arguments)


def test_tools_are_run_only_if_asked_for() -> None:
    diagnosis = diagnosis_of(f"{GOOD}:wrapped", run_tools=True)
    assert "app-failed" in serious(diagnosis)  # the tool that deletes everything was run, and objects


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("tests.doctor.apps.good", "does not name a module and an app"),
        ("tests.doctor.apps.missing:app", "cannot be imported"),
        (f"{BAD}:missing", "cannot be imported"),
        (f"{BAD}:not_an_app", "neither a compiled graph nor a chain"),
        (f"{BAD}:not_compiled", "is not compiled"),
    ],
)
def test_what_is_no_application_is_refused(spec: str, reason: str) -> None:
    with pytest.raises(InvalidGraph, match=reason):
        load_app(spec)


@pytest.mark.parametrize("code", [0, "SECRET is missing"])
def test_a_module_that_ends_the_process_is_named(
    code: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"ends_{type(code).__name__}.py").write_text(f"import sys\nsys.exit({code!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["doctor", f"ends_{type(code).__name__}:app", "--json"])
    assert ended.value.code == 2
    assert f"cannot be imported: the module calls sys.exit({code!r})" in capsys.readouterr().err


def test_the_command_is_clean_in_a_process_of_its_own() -> None:
    environment = {**os.environ, "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'src'}"}
    line = [sys.executable, "-c", "from budgeted_agents.cli import main; main()", "doctor", f"{GOOD}:wrapped", "--json"]
    done = subprocess.run(line, env=environment, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["clean"] is True
    assert json.loads(done.stdout)["proof"]["holds"] is True


def test_what_an_application_prints_is_not_what_the_command_says(tmp_path: Path) -> None:
    """It prints, also where it is imported; LiteLLM wants prices where a node imports it, and tells how to get help."""
    (tmp_path / "talking.py").write_text(TALKING)
    environment = {**os.environ, "PYTHONPATH": f"{CHECKOUT / 'src'}"}
    line = [sys.executable, "-c", "from budgeted_agents.cli import main; main()", "doctor", "talking:app", "--json"]
    done = subprocess.run(line, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert [finding["code"] for finding in json.loads(done.stdout)["findings"]] == ["unmetered-call", "memory-ledger"]
    assert "hello" in done.stderr
    assert "BudgetHandler" not in done.stderr


TALKING = """
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState
from budgeted_agents import Budget, BudgetedGraph

print("hello from outside")

def node(state):
    import litellm
    print("hello from inside")
    try:
        litellm.completion(model="gpt-4o", messages=[{"role": "user", "content": "hi"}], api_key="x", max_retries=0)
    except Exception:
        pass
    return {"messages": [ChatOpenAI(model="gpt-4o-mini", api_key="x", max_retries=0).invoke(state["messages"])]}

graph = BudgetedGraph(MessagesState, budget=Budget(usd="1"))
graph.add_node("node", node)
graph.add_edge(START, "node")
graph.add_edge("node", END)
app = graph.compile()
"""


@pytest.mark.parametrize(
    ("spec", "code", "text"),
    [(f"{BAD}:sdk", 1, "error: unmetered-call"), (f"{BAD}:missing", 2, "cannot be imported"), ("", 2, "does not name")],
)
def test_the_command_has_exit_codes(spec: str, code: int, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", spec])
    assert ended.value.code == code
    assert text in "".join(capsys.readouterr())
