"""The contract's assertions explain themselves as those of the tests here do."""

import pytest

pytest.register_assert_rewrite(
    "budgeted_agents.testing.ledger_contract",
    "budgeted_agents.testing.ledger_guards",
    "budgeted_agents.testing.ledger_steps",
)
