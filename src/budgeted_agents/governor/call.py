"""What the governor decides about: a model call with its tiers, or a tool call. Plain values, known before the call."""

from __future__ import annotations

from msgspec import Struct

from budgeted_agents.budget.attribution import Attribution
from budgeted_agents.ledgers.contract import RATE_SCALE


class Quote(Struct, frozen=True, gc=False):
    """What one tier would cost for one call.

    Attributes:
        tier: place in the best-first list, 0 is the model asked for.
        model: the model's name.
        model_class: the class the policy puts the model in, if any.
        input_tokens: upper bound on the input tokens.
        estimate: the likely number of input tokens, which the bound was made from.
        base: worst-case cost of the input, in nano-USD.
        rate: worst-case cost of one output token, in thousandths of a nano-USD.
        output_limit: most output tokens the call may ask of this tier.
        expected: likely cost of the call in nano-USD, cached input tokens counted at their own rate; only compared.
        thinking: output tokens that the tier is likely to think for before it answers.
    """

    tier: int
    model: str
    model_class: str | None
    input_tokens: int
    estimate: int
    base: int
    rate: int
    output_limit: int
    expected: int = 0
    thinking: int = 0

    def worst_case(self, output: int) -> int:
        """The most that the call can cost with an answer of so many tokens, in nano-USD."""
        return self.base - (-output * self.rate // RATE_SCALE)


class ModelCall(Struct, frozen=True, gc=False):
    """One model call somebody wants to make.

    Attributes:
        attribution: who it is for.
        quotes: one for each tier, best first; at least one.
        useful_output: output tokens below which the call does not count as fitting *as it is*: the limit the caller
            asked for, or a usual answer's length, without thinking, if none was.
        clampable: whether the output limit can be changed; if not, the call fits whole or not at all.
        landing: names of the budgets whose landing reserve this call may spend.
        operation: ``embeddings``, or empty for a chat.
        purpose: what the library makes it for, in a few words; empty for a call of the application's own. One with a
            purpose leaves enough for another like it: it is never what the application's own call is refused for.
    """

    attribution: Attribution
    quotes: tuple[Quote, ...]
    useful_output: int
    clampable: bool = True
    landing: frozenset[str] = frozenset()
    operation: str = ""
    purpose: str = ""


class Candidate(Struct, frozen=True, gc=False):
    """One way to make the call: a tier, and the answer lengths that are acceptable.

    Attributes:
        quote: the tier.
        floor, ask: the shortest answer still worth paying for this way, and the longest one asked for, in tokens.
        reason: why this way.
        shortened: whether the answer may be shorter than a useful one.
    """

    quote: Quote
    floor: int
    ask: int
    reason: str
    shortened: bool = False
