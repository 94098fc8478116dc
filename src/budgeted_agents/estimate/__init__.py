"""Upper bounds on how many tokens a prompt will have: counted, with a margin that is learned. No network."""

from budgeted_agents.estimate.history import HistoryCounter, Parts, PromptSize, image_tokens
from budgeted_agents.estimate.margin import Margins
from budgeted_agents.estimate.pages import PER_PAGE, pages_of
from budgeted_agents.estimate.thinking import Thinking
from budgeted_agents.estimate.tokens import Tokenizer, count_text, is_counted, tokenizer_for

__all__ = [
    "PER_PAGE",
    "HistoryCounter",
    "Margins",
    "Parts",
    "PromptSize",
    "Thinking",
    "Tokenizer",
    "count_text",
    "image_tokens",
    "is_counted",
    "pages_of",
    "tokenizer_for",
]
