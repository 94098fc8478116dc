"""An application that this library and OpenInference both trace: what is exported, audited, has each call once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openinference.instrumentation.langchain import LangChainInstrumentor
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from budgeted_agents import replay
from budgeted_agents.testing import LocalProvider
from tests.opentelemetry.support import SetUp, app_on

LENGTH = 4


@pytest.fixture
def openinference(set_up: SetUp) -> Iterator[None]:
    instrumentor: Any = LangChainInstrumentor()
    instrumentor.instrument(tracer_provider=set_up.tracer_provider)
    yield
    instrumentor.uninstrument()


@pytest.mark.usefixtures("openinference")
@pytest.mark.parametrize("has_root", [True, False])
def test_each_call_is_audited_once(provider: LocalProvider, set_up: SetUp, tmp_path: Path, has_root: bool) -> None:
    """Below a span of the application's, and without one, when the two are not even in one trace."""
    app = app_on(provider, calls=3, recorders=(set_up.recorder(),))
    config = {"configurable": {"thread_id": "t1"}}
    if has_root:
        with set_up.tracer.start_as_current_span("request"):
            app.invoke({"messages": []}, config)
    else:
        app.invoke({"messages": []}, config)
    message: bytes = encode_spans(set_up.exporter.get_finished_spans()).SerializeToString()
    (tmp_path / "spans.pb").write_bytes(len(message).to_bytes(LENGTH, "big") + message)
    assert len(set_up.spans("ChatOpenAI")) == len(set_up.spans("chat")) == 3
    report = replay(tmp_path / "spans.pb")
    (session,) = report.sessions
    assert (session.session_id, session.figures.calls, session.verdict) == ("t1", 3, "exact")
    assert "recorded_twice" in session.flags
