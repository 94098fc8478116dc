"""What a failed call has cost: the table, and the real errors of real clients against a real server."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import anthropic
import httpx
import openai
import pytest

from budgeted_agents.meter import BillingTable
from budgeted_agents.meter.outcomes import CONNECT_ERRORS, SENT_ERRORS, UNSENT_ERRORS, retryable, status_of

TABLE = BillingTable()
UNBILLED = (400, 401, 402, 403, 404, 405, 409, 410, 413, 415, 422, 429, 500, 503, 529)
AMBIGUOUS = (200, 206, 301, 408, 424, 499, 501, 502, 504, 520, 522, 524)


class StatusError(Exception):
    def __init__(self, status_code: object) -> None:
        self.status_code = status_code


class GoogleError(Exception):
    def __init__(self, code: object) -> None:
        self.code = code


@pytest.mark.parametrize(
    ("status", "billing"), [(s, "unbilled") for s in UNBILLED] + [(s, "ambiguous") for s in AMBIGUOUS]
)
@pytest.mark.parametrize("make", [StatusError, GoogleError])
def test_every_status(make: Callable[[int], Exception], status: int, billing: str) -> None:
    assert TABLE.billing(make(status), answered=False) == billing
    assert TABLE.billing(make(status), answered=True) == "ambiguous"
    assert status_of(make(status)) == status
    assert retryable(make(status)) == (status in (429, 500, 503, 529))


@pytest.mark.parametrize("status", [None, True, "429", 42, 1_000])
def test_what_is_no_status_is_none(status: object) -> None:
    assert status_of(StatusError(status)) is None
    assert TABLE.billing(StatusError(status), answered=False) == "ambiguous"


@pytest.mark.parametrize("name", sorted(CONNECT_ERRORS | UNSENT_ERRORS | SENT_ERRORS))
def test_every_class_in_the_table(name: str) -> None:
    error = type(name, (Exception,), {})()
    sent = name in SENT_ERRORS
    assert TABLE.billing(error, answered=False) == ("ambiguous" if sent else "unbilled")
    assert TABLE.billing(type("Wrapped", (type(error),), {})(), answered=False) == ("ambiguous" if sent else "unbilled")
    assert TABLE.billing(error, answered=True) == "ambiguous"
    assert retryable(error) == (name in CONNECT_ERRORS)


@pytest.mark.parametrize(
    "error",
    [TimeoutError(), ConnectionResetError(), KeyboardInterrupt(), GeneratorExit(), ValueError("bad JSON"), OSError()],
    ids=lambda error: type(error).__name__,
)
def test_whatever_is_not_in_the_table_is_ambiguous(error: BaseException) -> None:
    assert TABLE.billing(error, answered=False) == "ambiguous"


def chained(*errors: Exception) -> Exception:
    """The first error, raised from the second, and so on."""
    for outer, inner in pairwise(errors):
        outer.__cause__ = inner
    return errors[0]


def test_the_nearest_cause_counts() -> None:
    """A second attempt that was read from in vain may carry the first one's refused connection further down."""
    assert TABLE.billing(chained(RuntimeError(), httpx.ConnectError("no")), answered=False) == "unbilled"
    late = chained(httpx.ReadTimeout("late"), httpx.ConnectError("no"))
    assert TABLE.billing(late, answered=False) == "ambiguous"
    assert not retryable(late)


def test_a_chain_without_end_is_no_trap() -> None:
    first, second = RuntimeError(), RuntimeError()
    first.__cause__, second.__cause__ = second, first
    assert TABLE.billing(first, answered=False) == "ambiguous"


def test_a_table_can_be_replaced() -> None:
    strict = BillingTable(statuses=frozenset({429}), errors=frozenset())
    assert strict.billing(StatusError(429), answered=False) == "unbilled"
    assert strict.billing(StatusError(500), answered=False) == "ambiguous"
    assert strict.billing(ConnectionRefusedError(), answered=False) == "ambiguous"


# -- real clients, real server ---------------------------------------------------------------------------------------

GARBLED, HANGS_UP, SILENT = "garbled", "hangs-up", "silent"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Fails as the first part of the path says: a status, an answer nobody can read, a hang-up, or silence."""
    over = threading.Event()

    class Failing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            how = self.path.split("/")[1]
            if how == HANGS_UP:
                self.connection.shutdown(socket.SHUT_RDWR)
            elif how == SILENT:
                over.wait(60)
            else:
                status, body = (200, b"{not json") if how == GARBLED else (int(how), json.dumps({"error": {}}).encode())
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Nothing to say."""

    failing = ThreadingHTTPServer(("127.0.0.1", 0), Failing)
    thread = threading.Thread(target=failing.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{failing.server_port}"
    over.set()
    failing.shutdown()
    thread.join()
    failing.server_close()


@pytest.fixture(scope="module")
def nobody() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


MESSAGES: list[Any] = [{"role": "user", "content": "hello"}]


def ask_openai(url: str, timeout: float) -> None:
    with openai.OpenAI(api_key="none", base_url=url, max_retries=0, timeout=timeout) as client:
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)


def ask_anthropic(url: str, timeout: float) -> None:
    with anthropic.Anthropic(api_key="none", base_url=url, max_retries=0, timeout=timeout) as client:
        client.messages.create(model="claude-sonnet-4-5", messages=MESSAGES, max_tokens=5)


def ask_litellm(model: str) -> Callable[[str, float], None]:
    def ask(url: str, timeout: float) -> None:
        import litellm

        litellm.suppress_debug_info = True
        litellm.completion(model, MESSAGES, api_key="none", api_base=url, max_retries=0, timeout=timeout)

    return ask


CLIENTS = {
    "openai": ask_openai,
    "anthropic": ask_anthropic,
    "litellm-openai": ask_litellm("openai/gpt-4o"),
    "litellm-anthropic": ask_litellm("anthropic/claude-sonnet-4-5"),
}


def failure(client: str, url: str, timeout: float = 30) -> Exception:
    try:
        CLIENTS[client](url, timeout)
    except Exception as error:  # noqa: BLE001 -- every client has classes of its own
        return error
    pytest.fail("the call succeeded")


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("client", CLIENTS)
class TestRealErrors:
    @pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503, 529])
    def test_a_status_of_the_provider_is_unbilled(self, client: str, status: int, server: str) -> None:
        error = failure(client, f"{server}/{status}")
        assert TABLE.billing(error, answered=False) == "unbilled"
        assert retryable(error) == (status in (429, 500, 503, 529))

    @pytest.mark.parametrize("status", [408, 502, 504])
    def test_a_status_of_a_gateway_is_ambiguous(self, client: str, status: int, server: str) -> None:
        assert TABLE.billing(failure(client, f"{server}/{status}"), answered=False) == "ambiguous"

    def test_a_refused_connection_is_unbilled(self, client: str, nobody: str) -> None:
        error = failure(client, nobody)
        assert TABLE.billing(error, answered=False) == "unbilled"
        assert retryable(error)

    @pytest.mark.parametrize("how", [GARBLED, HANGS_UP])
    def test_an_answer_that_broke_is_ambiguous(self, client: str, how: str, server: str) -> None:
        error = failure(client, f"{server}/{how}")
        assert TABLE.billing(error, answered=False) == "ambiguous"

    def test_silence_is_ambiguous(self, client: str, server: str) -> None:
        assert TABLE.billing(failure(client, f"{server}/{SILENT}", timeout=0.2), answered=False) == "ambiguous"
