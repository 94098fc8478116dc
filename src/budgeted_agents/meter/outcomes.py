"""What a failed call has cost: the one table that says whether a provider billed it.

Certainly unbilled: the connection was refused, or the provider itself answered with an error status before the first
byte of an answer. Everything else is ambiguous (a time-out, a reset, a gateway's 502 or 504, a cancellation, an
abandoned stream): the provider may have done the work, so the call is charged as it was reserved, shown apart as
*presumed*, and can be reconciled later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Billing = Literal["unbilled", "ambiguous"]

UNBILLED_STATUS = frozenset(range(400, 500)) - {408, 424, 499} | {500, 503, 529}
"""Statuses with which the large providers refuse a request without billing it, by their own terms. Not among them: what
a server says when it, the model behind it (424) or the client (408, 499) gave up on a request that was under way."""

CONNECT_ERRORS = frozenset(
    {
        "ClientConnectorError",
        "ConnectError",
        "ConnectTimeout",
        "ConnectTimeoutError",
        "ConnectionRefusedError",
        "EndpointConnectionError",
        "NewConnectionError",
        "PoolTimeout",
        "gaierror",
    }
)
"""Exception classes that mean the request never left: names, so that no client library has to be imported."""

UNSENT_ERRORS = frozenset({"NotImplementedError", "ImportError", "ModuleNotFoundError"})
"""Exception classes raised while a request is being built. A failed validation is none: answers are validated too."""

SENT_ERRORS = frozenset(
    {
        "BrokenPipeError",
        "ConnectionResetError",
        "ReadError",
        "ReadTimeout",
        "ReadTimeoutError",
        "RemoteProtocolError",
        "ServerDisconnectedError",
        "WriteError",
        "WriteTimeout",
    }
)
"""Exception classes that mean the request, or part of it, had left."""

RETRYABLE_STATUS = frozenset({429, 500, 503, 529})
"""Unbilled statuses that may well succeed a moment later."""


@dataclass(frozen=True, slots=True)
class BillingTable:
    """Which failures are certainly unbilled. Replace it to match a provider's or gateway's own terms.

    Attributes:
        statuses: HTTP statuses of answers that are not billed.
        errors: names of exception classes that mean no provider was asked.
    """

    statuses: frozenset[int] = UNBILLED_STATUS
    errors: frozenset[str] = CONNECT_ERRORS | UNSENT_ERRORS

    def billing(self, error: BaseException, *, answered: bool) -> Billing:
        """What a failed call cost. ``answered``: whether any part of an answer had already arrived."""
        if answered:
            return "ambiguous"
        status = status_of(error)
        if status is not None:
            return "unbilled" if status in self.statuses else "ambiguous"
        return "unbilled" if _first_named(error, self.errors, SENT_ERRORS) in self.errors else "ambiguous"


def status_of(error: BaseException) -> int | None:
    """The HTTP status an error stands for, if a server answered with one."""
    for cause in _causes(error):
        if _is_transport(cause):
            return None
        for status in (_status(cause), _status(getattr(cause, "response", None))):
            if status is not None and not (status >= 500 and _is_litellms(cause)):
                return status
    return None


def headers_of(error: BaseException) -> Iterator[Mapping[str, str]]:
    """The headers of the answers that an error, or what it was raised from, carries."""
    for cause in _causes(error):
        headers = getattr(getattr(cause, "response", None), "headers", None)
        if isinstance(headers, Mapping):
            yield headers


def retryable(error: BaseException) -> bool:
    """Whether trying again may help; only ever asked of unbilled failures."""
    status = status_of(error)
    if status is not None:
        return status in RETRYABLE_STATUS
    return _first_named(error, CONNECT_ERRORS, SENT_ERRORS) in CONNECT_ERRORS


def _status(holder: object) -> int | None:
    """``status_code`` as most clients have it, ``code`` as Google's do."""
    for name in ("status_code", "code"):
        status = getattr(holder, name, None)
        if isinstance(status, int) and not isinstance(status, bool) and 100 <= status < 600:
            return int(status)
    return None


def _is_litellms(error: BaseException) -> bool:
    """LiteLLM gives 500 to whatever it cannot explain, also to an answer it fails to read, which was billed. Where a
    server did say 500, the error of the HTTP client further down says so."""
    return type(error).__module__.partition(".")[0] == "litellm"


def _is_transport(error: BaseException) -> bool:
    names = {cls.__name__ for cause in _causes(error) for cls in type(cause).__mro__}
    return bool(names & {"APIConnectionError", "APITimeoutError", "Timeout", "TransportError"})


def _first_named(error: BaseException, *tables: frozenset[str]) -> str:
    """The first class name in the chain of causes that a table has: an earlier attempt's failure, raised from further
    down, says nothing of this one."""
    for cause in _causes(error):
        for cls in type(cause).__mro__:
            if any(cls.__name__ in table for table in tables):
                return cls.__name__
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, then what it was raised from, at most a few deep."""
    cause: BaseException | None = error
    for _ in range(8):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__
