"""A local LLM provider for tests and trials: real HTTP on 127.0.0.1, in the wire formats of
OpenAI, Anthropic and Gemini, no model.

    with LocalProvider(reply=fixed("Hello.")) as provider:
        client = OpenAI(base_url=provider.base_url, api_key="sk-local")
        ...
        assert provider.bill_nanos <= budget

It keeps the bill that a provider would send, exactly. By default everything is billed when a request arrives, whatever
becomes of the client: the worst case for whoever guards a budget.

By hand: ``python -m budgeted_agents.testing.provider --port 8080``.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from types import TracebackType
from typing import Literal, Self

from budgeted_agents.testing.answers import answer_to, count_tokens
from budgeted_agents.testing.bill import (
    LIST_PRICES,
    Bill,
    ModelPrice,
    PromptCache,
    RequestRecord,
    checked_prices,
    cost_usd,
)
from budgeted_agents.testing.conversation import (
    Answer,
    Reply,
    Request,
    RequestRejected,
    TokenCounter,
    TokenUsage,
)
from budgeted_agents.testing.gate import Gate
from budgeted_agents.testing.replies import ReplyPolicy, fill, fixed, scripted
from budgeted_agents.testing.research_policy import research_replies
from budgeted_agents.testing.server import Exchange, ProviderServer

BillMode = Literal["arrival", "sent"]


class LocalProvider:
    """A provider that answers by a policy and bills exactly. A context manager; thread-safe.

    Args:
        reply: a callable ``Request -> Reply``, or a list of replies, one for each request in order of arrival.
        prices: USD per million tokens by model: ``ModelPrice``, or (input, cached input, output) as Decimals. Other
            models are answered with 404.
        count_tokens: tokens of a text; by default a quarter of its UTF-8 bytes, rounded up.
        bill_mode: ``"arrival"`` bills the whole answer when the request arrives; ``"sent"`` bills the input then and
            the output as it is sent.
        prompt_cache: whether histories that begin like an earlier one are billed at the cached rate.
        port: the port to listen on; 0 for any free one.

    Attributes:
        base_url: for OpenAI clients, ends with ``/v1``.
        url: for Anthropic's and Google's clients, which add the version themselves.
        gate: holds requests while it is closed.

    Raises:
        InvalidPrice: if a price is not a finite Decimal of at least 0.
    """

    def __init__(
        self,
        reply: ReplyPolicy | Sequence[Reply] | None = None,
        *,
        prices: Mapping[str, ModelPrice | tuple[Decimal, Decimal, Decimal]] = LIST_PRICES,
        count_tokens: TokenCounter = count_tokens,
        bill_mode: BillMode = "arrival",
        prompt_cache: bool = False,
        port: int = 0,
    ) -> None:
        self.prices = checked_prices(prices)
        self.gate = Gate()
        self._policy = _policy(reply)
        self._count = count_tokens
        self._bill_mode = bill_mode
        self._cache = PromptCache() if prompt_cache else None
        self._bill = Bill()
        self._failures: list[BaseException] = []
        self._numbering = threading.Lock()
        self._accepted = 0
        self._started = time.monotonic()
        self._server = ProviderServer(self, port)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is None and self._failures:
            raise self._failures[0]

    def close(self) -> None:
        """Lets go of all requests, closes all connections and the port. May be called twice."""
        self.gate.open()
        self._server.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def bill(self) -> Bill:
        """The bill so far."""
        return self._bill

    @property
    def bill_usd(self) -> Decimal:
        """True spend in USD, exactly."""
        return self._bill.usd

    @property
    def bill_nanos(self) -> int:
        """True spend in nano-USD, each request rounded up once."""
        return self._bill.nanos

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """Every model call that arrived, refused ones included, in order."""
        return self._bill.records

    @property
    def failures(self) -> tuple[BaseException, ...]:
        """What went wrong in the reply policy or here; the first of it is raised again when the context ends."""
        return tuple(self._failures)

    def accept(self, request: Request) -> Exchange:
        """Numbers and answers a request and bills it on arrival. The server's entry.

        Raises:
            RequestRejected: if the model has no price here, or the policy fails.
        """
        price = self.prices.get(request.model)
        if price is None:
            raise RequestRejected(f"The model {request.model!r} does not exist", status=404, kind="not_found_error")
        request = self._numbered(request)
        reply, answer = self._decide(request)
        total = cost_usd(answer.usage, price) if reply.is_billed else Decimal(0)
        first = total if self._bill_mode == "arrival" else self._input_cost(reply, answer, price)
        place = self._bill.add(RequestRecord(request, answer.usage, first, 0, "open", self._now()))
        output = total - first

        def sent(share: Decimal) -> None:
            self._bill.charge(place, first + output * share)

        def finished(status: int, outcome: str) -> None:
            self._bill.finish(place, status, outcome, self._now())

        return Exchange(request, reply, answer, sent, finished)

    def reject(self, request: Request, status: int) -> None:
        """Records a request that was rejected before it was numbered. It costs nothing."""
        now = self._now()
        self._bill.add(RequestRecord(request, TokenUsage(), Decimal(0), status, "refused", now, now))

    def failed(self, error: BaseException) -> None:
        """Keeps a failure of the policy or the server, which must not hide behind a client's retries."""
        self._failures.append(error)

    def _numbered(self, request: Request) -> Request:
        with self._numbering:
            self._accepted += 1
            return replace(request, number=self._accepted)

    def _decide(self, request: Request) -> tuple[Reply, Answer]:
        try:
            reply = self._policy(request)
            cached = self._cache.look_up(request, self._count) if self._cache and not reply.is_error else 0
            return reply, answer_to(request, reply, self._count, cached)
        except Exception as error:
            self.failed(error)
            message = f"The reply policy failed: {error}"
            raise RequestRejected(message, status=500, kind="server_error") from error

    def _input_cost(self, reply: Reply, answer: Answer, price: ModelPrice) -> Decimal:
        billed = replace(answer.usage, output_tokens=0, reasoning_tokens=0)
        return cost_usd(billed, price) if reply.is_billed else Decimal(0)

    def _now(self) -> float:
        return time.monotonic() - self._started


def _policy(reply: ReplyPolicy | Sequence[Reply] | None) -> ReplyPolicy:
    if reply is None:
        return fixed("Hello from the local provider.")
    return reply if callable(reply) else scripted(reply)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until interrupted, and prints the bill."""
    policies = {"fill": fill(1_000), "research": research_replies()}
    parser = argparse.ArgumentParser(
        prog="python -m budgeted_agents.testing.provider", description="A local LLM provider with an exact bill."
    )
    parser.add_argument(
        "--reply", choices=sorted(policies), default="fill", help="fill: long answers; research: drive a research agent"
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 for any free one")
    options = parser.parse_args(arguments)
    with LocalProvider(policies[options.reply], port=options.port) as provider:
        sys.stdout.write(f"{provider.base_url} (bill: {provider.url}/bill); Ctrl+C ends\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            sys.stdout.write(f"\n{len(provider.requests)} requests, ${provider.bill_usd}\n")


if __name__ == "__main__":
    main()
