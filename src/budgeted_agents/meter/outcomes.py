"""What a failed call has cost: the one table that says whether a provider billed it.

Certainly unbilled: the connection was refused, or the provider itself answered with an error status before the first
byte of an answer. Everything else is ambiguous (a time-out, a reset, a gateway's 502 or 504, a cancellation, an
abandoned stream): the provider may have done the work, so the call is charged as it was reserved, shown apart as
*presumed*, and can be reconciled later.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Billing = Literal["unbilled", "ambiguous"]

UNBILLED_STATUS = frozenset({400, 401, 402, 403, 404, 405, 409, 410, 413, 415, 422, 429, 500, 503, 529})
"""Statuses with which the large providers refuse a request without billing it, by their own terms."""

UNBILLED_ERRORS = frozenset({"ConnectError", "ConnectionRefusedError", "ConnectTimeout", "PoolTimeout", "gaierror"})
"""Exception classes that mean the request never left: names, so that no client library has to be imported."""

UNSENT_ERRORS = frozenset({"ValidationError", "NotImplementedError", "ImportError", "ModuleNotFoundError"})
"""Exception classes raised while a request is being built."""

RETRYABLE_STATUS = frozenset({429, 500, 503, 529})
"""Unbilled statuses that may well succeed a moment later."""


@dataclass(frozen=True, slots=True)
class BillingTable:
    """Which failures are certainly unbilled. Replace it to match a provider's or gateway's own terms."""

    statuses: frozenset[int] = UNBILLED_STATUS
    errors: frozenset[str] = field(default=UNBILLED_ERRORS | UNSENT_ERRORS)

    def billing(self, error: BaseException, *, answered: bool) -> Billing:
        """``answered``: whether any part of an answer had already arrived."""
        if answered:
            return "ambiguous"
        status = status_of(error)
        if status is not None:
            return "unbilled" if status in self.statuses else "ambiguous"
        names = {cls.__name__ for cause in _causes(error) for cls in type(cause).__mro__}
        return "unbilled" if names & self.errors else "ambiguous"


def status_of(error: BaseException) -> int | None:
    """The HTTP status an error stands for, if it stands for one."""
    for cause in _causes(error):
        for holder in (cause, getattr(cause, "response", None)):
            status = getattr(holder, "status_code", None)
            # LiteLLM dresses errors that never had a response as status 500; the cause tells them apart.
            if isinstance(status, int) and not isinstance(status, bool) and not _is_transport(cause):
                return status
    return None


def retryable(error: BaseException) -> bool:
    """Whether trying again may help; only ever asked of unbilled failures."""
    status = status_of(error)
    return status is None or status in RETRYABLE_STATUS


def _is_transport(error: BaseException) -> bool:
    names = {cls.__name__ for cause in _causes(error) for cls in type(cause).__mro__}
    return bool(names & {"APIConnectionError", "APITimeoutError", "Timeout", "TransportError"})


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, then what it was raised from, at most a few deep."""
    cause: BaseException | None = error
    for _ in range(8):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__
