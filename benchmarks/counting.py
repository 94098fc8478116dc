"""What counting the tokens of a prompt costs at each step of a growing conversation.

Compares counting the whole message list anew (tiktoken) with ``HistoryCounter``. Medians; trust the ratios.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from budgeted_agents.estimate import HistoryCounter, Parts, Tokenizer, tokenizer_for

LENGTHS = (10, 100, 400)
STEPS = 20
RUNS = 10


def conversation(length: int, run: int) -> list[BaseMessage]:
    kinds = (HumanMessage, AIMessage)
    text = "Step {0} of run {1}: the forecast for town {0} is fair, and the price is {1}. "
    return [kinds[step % 2](text.format(step, run) * 3) for step in range(length)]


def parts_of(message: BaseMessage) -> Parts:
    return Parts((str(message.content),))


def growing(length: int, run: int) -> list[list[BaseMessage]]:
    """Prompts of about this length, each with one message more than the one before."""
    messages = conversation(length + STEPS, run)
    return [messages[: length + step] for step in range(STEPS)]


def pruned(length: int, run: int) -> list[list[BaseMessage]]:
    """The same conversation with its oldest messages gone, one more each time."""
    messages = conversation(length + STEPS, run)
    return [messages[step:] for step in range(STEPS)]


def median_us(count: Callable[[list[BaseMessage]], object], runs: Sequence[list[list[BaseMessage]]]) -> float:
    """Median time of a step, the first step of each run left out: it counts the whole history in either case."""
    times = []
    for prompts in runs:
        count(prompts[0])
        for prompt in prompts[1:]:
            start = perf_counter()
            count(prompt)
            times.append(perf_counter() - start)
    return median(times) * 1e6


def recount(tokenizer: Tokenizer) -> Callable[[list[BaseMessage]], int]:
    return lambda messages: sum(tokenizer.count(str(message.content)) for message in messages)


def remembered(tokenizer: Tokenizer) -> Callable[[list[BaseMessage]], object]:
    return HistoryCounter(tokenizer, parts_of).count


def main() -> None:
    tokenizer = tokenizer_for("gpt-4o")
    print("us a step           recount  HistoryCounter  ratio")
    for name, prompts_of in (("one more message", growing), ("pruned", pruned)):
        for length in LENGTHS:
            runs = [prompts_of(length, run) for run in range(RUNS)]
            anew, kept = median_us(recount(tokenizer), runs), median_us(remembered(tokenizer), runs)
            print(f"{name:16}{length:4}{anew:8.0f}{kept:16.1f}{anew / kept:7.0f}")


if __name__ == "__main__":
    main()
