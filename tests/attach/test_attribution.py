"""Whatever way a budget is attached in, the metadata of a config says whose account is charged."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage

from budgeted_agents import Budget, BudgetMiddleware, CostCallback, budgeted
from budgeted_agents.errors import InvalidAttribution
from budgeted_agents.ledgers import MemoryLedger
from budgeted_agents.testing import LocalProvider
from tests.attach.support import Heard, openai, serving

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # clients of event loops that have ended
PER_USER = Budget(per=("user",), usd="0.50")


class Attached:
    """An agent with a budget attached in some way; what it says and whom it charges."""

    def __init__(self, way: str, provider: LocalProvider, budget: Budget = PER_USER) -> None:
        self.heard, self._ledger = Heard(), MemoryLedger()
        settings: Any = {"budget": budget, "ledger": self._ledger, "listeners": [self.heard]}
        middleware = [BudgetMiddleware(**settings)] if way == "BudgetMiddleware" else []
        self._callbacks = [CostCallback(**settings)] if way == "CostCallback" else []
        self._app: Any = create_agent(openai(provider), middleware=middleware)
        if way == "budgeted":
            self._app = budgeted(self._app, **settings)

    def ask(self, metadata: dict[str, Any]) -> None:
        config = {"metadata": metadata, "callbacks": self._callbacks}
        self._app.invoke({"messages": [HumanMessage("Go on.")]}, config)

    @property
    def accounts(self) -> list[str]:
        return [account.key for account in self._ledger.accounts()]


WAYS = pytest.mark.parametrize("way", ["BudgetMiddleware", "budgeted", "CostCallback"])


@WAYS
@pytest.mark.parametrize(
    ("user", "account"),
    [("ada", "ada"), (42, "42"), (UUID(int=5), "00000000-0000-0000-0000-000000000005"), (None, "-"), ("", "-")],
    ids=str,
)
def test_a_name_in_the_metadata_has_its_own_account(way: str, user: object, account: str) -> None:
    with serving() as provider:
        attached = Attached(way, provider)
        attached.ask({"user": user})
    assert attached.accounts == [f"user|user={account}||usd"]
    assert not attached.heard.of("unattributed")


@WAYS
@pytest.mark.parametrize(
    "user", [{"id": 7}, ["ada"], True, 1.5, "x" * 201], ids=["dict", "list", "bool", "float", "str"]
)
def test_a_value_that_is_no_name_is_told_of_once_in_a_run(way: str, user: object) -> None:
    with serving() as provider:
        attached = Attached(way, provider)
        attached.ask({"user": user})
    assert attached.accounts == ["user|user=-||usd"]
    [event] = attached.heard.of("unattributed")
    assert event.message.startswith(f"metadata['user'] ({type(user).__name__}) is no short name, so calls are charged")
    assert "user=-" in event.message


@WAYS
def test_what_no_budget_is_kept_by_is_nobodys_concern(way: str) -> None:
    with serving() as provider:
        attached = Attached(way, provider, Budget(usd="0.50"))
        attached.ask({"user": {"id": 7}})
    assert not attached.heard.of("unattributed")


def test_no_other_account_is_topped_up() -> None:
    middleware = BudgetMiddleware(budget=PER_USER)
    with pytest.raises(InvalidAttribution, match=r"user=.*is not a short name"):
        middleware.top_up({"metadata": {"user": {"id": 7}}}, usd=1, by="ops")
    [balance] = middleware.top_up({"metadata": {"user": UUID(int=5)}}, usd=1, by="ops")
    assert balance.account.key == "user|user=00000000-0000-0000-0000-000000000005||usd"
