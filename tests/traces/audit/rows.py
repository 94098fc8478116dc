"""Rows of price lists that several tests use."""

CLAUDE = {
    "input_cost_per_token": "0.000003",
    "output_cost_per_token": "0.000015",
    "cache_read_input_token_cost": "0.0000003",
    "cache_creation_input_token_cost": "0.00000375",
    "cache_creation_input_token_cost_above_1hr": "0.000006",
    "input_cost_per_token_above_200k_tokens": "0.000006",
    "search_context_cost_per_query": {"search_context_size_medium": "0.01"},
}
"""Every class of tokens at a price of its own, and long prompts at a higher one."""
