"""The HTTP side of the local provider: routes, plain and streamed answers, and every way in which they can fail."""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

from budgeted_agents.testing import wire_anthropic, wire_gemini, wire_openai, wire_responses
from budgeted_agents.testing.bill import Bill
from budgeted_agents.testing.conversation import Answer, JsonObject, Reply, Request, RequestRejected
from budgeted_agents.testing.gate import Gate

_LOOK_EVERY = 0.05
_JOIN_SECONDS = 5.0


@dataclass(frozen=True)
class Exchange:
    """A numbered, billed request and what to do with it; the two callbacks report how it went.

    ``sent`` takes the share (0 to 1) of the answer that went out, ``finished`` the HTTP status and the outcome.
    """

    request: Request
    reply: Reply
    answer: Answer
    sent: Callable[[Decimal], None]
    finished: Callable[[int, str], None]


class Provider(Protocol):
    """What the server needs to know of the provider."""

    gate: Gate

    @property
    def prices(self) -> Mapping[str, object]: ...

    @property
    def bill(self) -> Bill: ...

    def accept(self, request: Request) -> Exchange: ...

    def reject(self, request: Request, status: int) -> None: ...

    def failed(self, error: BaseException) -> None: ...


@dataclass(frozen=True)
class Wire:
    """One route's wire format: how to read a request, and how to write an answer, its events, and errors."""

    parse: Callable[[str, JsonObject, Mapping[str, str]], Request]
    body: Callable[[Request, Answer], JsonObject]
    error: Callable[[int, str, str | None], JsonObject]
    events: Callable[[Request, Answer], Iterator[str]] | None = None


_WIRES = {
    "/v1/chat/completions": Wire(
        wire_openai.parse_chat, wire_openai.chat_body, wire_openai.error_body, wire_openai.chat_events
    ),
    "/v1/responses": Wire(
        wire_responses.parse_responses,
        wire_responses.responses_body,
        wire_openai.error_body,
        wire_responses.responses_events,
    ),
    "/v1/messages": Wire(
        wire_anthropic.parse_messages,
        wire_anthropic.messages_body,
        wire_anthropic.error_body,
        wire_anthropic.messages_events,
    ),
    "/v1/embeddings": Wire(wire_openai.parse_embeddings, wire_openai.embeddings_body, wire_openai.error_body),
}

_GEMINI = Wire(
    wire_gemini.parse_contents, wire_gemini.contents_body, wire_gemini.error_body, wire_gemini.contents_events
)


def _wire_of(path: str) -> Wire | None:
    """The wire format of a route; Gemini's routes name the model."""
    return _GEMINI if wire_gemini.ROUTE.fullmatch(path) else _WIRES.get(path)


class ProviderServer(ThreadingHTTPServer):
    """A thread for each connection; knows its connections, so that it can close them all at once."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, provider: Provider, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.provider = provider
        self.stopping = threading.Event()
        self._loop: threading.Thread | None = None
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def start(self) -> None:
        self._loop = threading.Thread(target=self._accept, name="local-provider", daemon=True)
        self._loop.start()

    def stop(self) -> None:
        """Stops listening, cuts every connection and waits for their threads."""
        self.stopping.set()
        if self._loop is not None:
            socket.create_connection(("127.0.0.1", self.port)).close()  # wakes the loop
            self._loop.join()
            self._loop = None
        self.server_close()
        with self._lock:
            connections = dict(self._connections)
        for connection, thread in connections.items():
            _shut(connection)
            thread.join(_JOIN_SECONDS)

    def _accept(self) -> None:
        """Takes connections until one comes after the stop. (``serve_forever`` would look for the stop by polling.)"""
        while True:
            connection, address = self.get_request()
            if self.stopping.is_set():
                connection.close()
                return
            self.process_request(connection, address)

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections[connection] = threading.current_thread()
        if self.stopping.is_set():
            _shut(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.pop(connection, None)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is a matter of course here, its request's record says so; a bug is not."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self.provider.failed(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ProviderServer

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.closed(self.connection)
        super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """No log: the bill is the record."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/bill":
            self._send_json(200, self.server.provider.bill.as_json())
        elif path == "/v1/models":
            self._send_json(200, wire_openai.models_body(self.server.provider.prices))
        else:
            self._send_json(404, wire_openai.error_body(404, f"No route GET {path}"))

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.partition("?")[0]
        wire = _wire_of(path)
        if wire is None:
            self._send_json(404, wire_openai.error_body(404, f"No route POST {path}"))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(path, "", (), headers=headers)
        try:
            body = _json_object(raw)
            request = Request(path, str(body.get("model", "")), (), body=body, headers=headers)
            request = _parsed(wire, path, body, headers)
            exchange = self.server.provider.accept(request)
        except RequestRejected as rejection:
            self.server.provider.reject(request, rejection.status)
            self._send_json(rejection.status, wire.error(rejection.status, rejection.message, rejection.kind))
        else:
            self._carry_out(wire, exchange)

    def _carry_out(self, wire: Wire, exchange: Exchange) -> None:
        """Answers as scripted. The outcome is booked just before the last byte, so that a client which has its answer
        finds it in the bill; should that byte not go out, the outcome is corrected."""
        try:
            self._answer(wire, exchange)
        except OSError:
            exchange.finished(0, "client_gone")
            self.close_connection = True

    def _answer(self, wire: Wire, exchange: Exchange) -> None:
        reply = exchange.reply
        self.server.provider.gate.pass_through()
        self.server.stopping.wait(reply.delay)
        if reply.is_error:
            error = wire.error(reply.status, reply.text or f"Scripted error {reply.status}", None)
            exchange.finished(reply.status, "refused")
            self._send_json(reply.status, error, reply.headers)
        elif reply.cut_after is None and (reply.hang or reply.reset):
            self._break_off(exchange, status=0)
        elif exchange.request.stream and wire.events is not None:
            self._send_stream(exchange, list(wire.events(exchange.request, exchange.answer)))
        else:
            self._send_plain(exchange, wire.body(exchange.request, exchange.answer))

    def _send_plain(self, exchange: Exchange, body: JsonObject) -> None:
        is_cut = exchange.reply.cut_after is not None
        exchange.sent(Decimal(1))
        if not is_cut:
            exchange.finished(200, "answered")
        self._send_json(200, body, exchange.reply.headers, is_cut=is_cut)
        if is_cut:
            self._break_off(exchange, status=200)

    def _send_stream(self, exchange: Exchange, events: list[str]) -> None:
        """Sends events in chunked encoding; what has gone out is billed, also if the client leaves half way."""
        reply = exchange.reply
        self._send_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked", **reply.headers})
        for count, event in enumerate(events[: reply.cut_after], start=1):
            self.server.stopping.wait(reply.chunk_delay)
            exchange.sent(Decimal(count) / len(events))
            if count == len(events) and reply.cut_after is None:
                exchange.finished(200, "answered")
            self._send_chunk(event.encode())
        if reply.cut_after is None:
            self._send_chunk(b"")
        else:
            self._break_off(exchange, status=200)

    def _break_off(self, exchange: Exchange, status: int) -> None:
        """Leaves the client without (the rest of) its answer."""
        self.close_connection = True
        is_left = exchange.reply.hang and self._wait_for_client_to_leave()
        exchange.finished(status, "client_gone" if is_left else "cut")
        if exchange.reply.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.connection.close()

    def _wait_for_client_to_leave(self) -> bool:
        while not self.server.stopping.is_set():
            readable, _, _ = select.select([self.connection], [], [], _LOOK_EVERY)
            if readable and self.connection.recv(1, socket.MSG_PEEK) == b"":
                return True
        return False

    def _send_json(
        self, status: int, body: JsonObject, headers: Mapping[str, str] | None = None, *, is_cut: bool = False
    ) -> None:
        data = json.dumps(body, ensure_ascii=False).encode()
        self._send_head(
            status, {"content-type": "application/json", "content-length": str(len(data))} | dict(headers or {})
        )
        self.wfile.write(data[: len(data) // 2] if is_cut else data)

    def _send_head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))


def _json_object(raw: bytes) -> JsonObject:
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise RequestRejected(f"The body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise RequestRejected("The body has to be a JSON object")
    return body


def _parsed(wire: Wire, path: str, body: JsonObject, headers: Mapping[str, str]) -> Request:
    try:
        return wire.parse(path, body, headers)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RequestRejected(f"The body is malformed: {error!r}") from error


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # closed already, by its own thread
