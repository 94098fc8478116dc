"""An account's key stands for that account alone, whatever its names hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.ledgers import Account
from budgeted_agents.ledgers.contract import unit_of

names = st.text(st.sampled_from("a|=,%:{}é\0 7C"), max_size=4) | st.text(max_size=8)
accounts = st.builds(Account, names, st.lists(st.tuples(names, names), max_size=3).map(tuple), names, names)


@given(accounts)
def test_a_key_gives_its_account_back(account: Account) -> None:
    """Which two accounts with one key could not."""
    assert Account.from_key(account.key) == account
    assert unit_of(account.key) == account.unit


@given(accounts, accounts)
def test_equal_keys_mean_equal_accounts(one: Account, other: Account) -> None:
    assert (one.key == other.key) == (one == other) == (hash(one) == hash(other))
