"""Which of two calls counts, of which one stands directly below the other in a trace. Pure.

A call may be written down twice: by the instrumentation of a framework and by that of the client below it. Then it
counts once. Or there are two: a model that checks what another answers is called within the span of that one. Tokens
tell which, since both instrumentations have them from the provider.
"""

from __future__ import annotations

from collections.abc import Sequence

from budgeted_agents.traces.call import TracedCall


def is_whole(call: TracedCall) -> bool:
    """Whether a call says what it cost: its model, and its tokens or its cost. Of two nested calls, one that does not
    is never believed before one that does."""
    usage = call.usage
    return bool(call.model and (usage.output or usage.input or usage.total_tokens or call.recorded_cost))


def repeats(parent: TracedCall, children: Sequence[TracedCall]) -> bool:
    """Whether a call only tells again of one directly below it, or of all of these together. All of them are whole."""
    return any(_is_sum(parent, [child]) for child in children) or _is_sum(parent, children)


def _is_sum(parent: TracedCall, children: Sequence[TracedCall]) -> bool:
    """Whether its tokens are theirs. Instrumentations differ in what they count: in whether the input includes what was
    cached, the output what was thought. So of the same model one of the two figures is enough."""
    prompt = sum(child.usage.prompt_tokens for child in children)
    completion = sum(child.usage.completion_tokens for child in children)
    is_prompt, is_completion = parent.usage.prompt_tokens == prompt, parent.usage.completion_tokens == completion
    if is_prompt and is_completion:
        return True
    names = _names(parent)
    are_alike = all(names & _names(child) for child in children)
    return are_alike and ((is_prompt and prompt > 0) or (is_completion and completion > 0))


def _names(call: TracedCall) -> set[str]:
    """What its model is called, without who serves it."""
    return {name.rpartition("/")[2] for name in (call.model, call.model_asked) if name}
