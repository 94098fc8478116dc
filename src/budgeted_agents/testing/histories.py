"""Which histories a provider accepts: every tool call with its result, every result with its call. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from budgeted_agents.testing.conversation import Message, RequestRejected

_ROLES = ("system", "user", "assistant", "tool")


def check_history(messages: Sequence[Message]) -> None:
    """Rejects what OpenAI and Anthropic reject: results have to follow their calls at once, one for each call.

    Raises:
        RequestRejected: naming the message and the tool call ids.
    """
    if not messages:
        raise RequestRejected("messages: at least one message is required")
    missing: list[str] = []
    for index, message in enumerate(messages):
        if message.role not in _ROLES:
            raise RequestRejected(f"messages[{index}].role: {message.role!r} is not one of {', '.join(_ROLES)}")
        if message.role != "tool":
            _check_answered(missing, index)
            missing = [call.id for call in message.tool_calls]
        elif message.tool_call_id in missing:
            missing.remove(message.tool_call_id)
        else:
            raise RequestRejected(
                f"messages[{index}]: the tool result for {message.tool_call_id!r} follows no assistant message with "
                "that tool call, or is its second result"
            )
    _check_answered(missing, len(messages))


def check_output_limit(limit: object, name: str) -> int | None:
    """The output limit as an int, or None.

    Raises:
        RequestRejected: if it is not a positive integer.
    """
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise RequestRejected(f"{name}: {limit!r} is not an integer of at least 1")
    return limit


def _check_answered(missing: Sequence[str], index: int) -> None:
    if missing:
        raise RequestRejected(f"messages[{index}]: tool calls without a tool result before it: {', '.join(missing)}")
