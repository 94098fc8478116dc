"""What is looked up once for many calls follows what may change between them: prices, attribution, parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

from budgeted_agents import Budget, CostCallback, attribute
from budgeted_agents.prices import PriceBook

if TYPE_CHECKING:
    from langchain_core.callbacks import CallbackManagerForLLMRun

MODEL = "house-model"


class HouseModel(BaseChatModel):
    """Answers with ten tokens for a hundred, and names what it is called with."""

    parameters: dict[str, Any] = Field(default_factory=dict)

    @property
    def _llm_type(self) -> str:
        return "house"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": MODEL, "max_tokens": 50, **self.parameters}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        usage: Any = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
        return ChatResult(generations=[ChatGeneration(message=AIMessage("yes", usage_metadata=usage))])


def priced(nano_usd: int) -> dict[str, dict[str, Any]]:
    return {MODEL: {"input_cost_per_token": nano_usd / 1e9, "output_cost_per_token": 0, "max_output_tokens": 50}}


def test_a_price_that_is_registered_between_two_calls_is_charged_from_then_on() -> None:
    book = PriceBook(priced(5))
    callback = CostCallback(budget=Budget(usd=1), prices=book, session="s")
    for nano_usd in (5, 5, 7):
        book.register(priced(nano_usd))
        HouseModel().invoke("hello", {"callbacks": [callback]})
    assert [call.cost for call in callback.spend.calls] == [500, 500, 700]


def test_each_call_is_attributed_to_what_encloses_it() -> None:
    callback = CostCallback(budget=Budget(per="tenant", usd=1), prices=PriceBook(priced(5)), session="s")
    model = HouseModel()
    for tenant in ("acme", "globex", "acme"):
        with attribute(tenant=tenant):
            model.invoke("hello", {"callbacks": [callback]})
    for tenant in ("acme", "initech"):
        model.invoke("hello", {"callbacks": [callback], "metadata": {"tenant": tenant}})
    model.invoke("hello", {"callbacks": [callback]})
    assert [call.attribution.get("tenant", "-") for call in callback.spend.calls] == [
        *("acme", "globex", "acme", "acme", "initech", "-")
    ]
    spent = {dict(balance.account.scope)["tenant"]: balance.spent for balance in callback.spend.balances}
    assert spent == {"acme": 1_500, "globex": 500, "initech": 500, "-": 500}


def test_each_call_holds_by_its_own_parameters() -> None:
    callback = CostCallback(budget=Budget(tokens=100_000), prices=PriceBook(priced(5)), session="s")
    given: list[dict[str, Any]] = [{}, {"max_tokens": 80}, {"n": 2}, {}, {"service_tier": ["no", "name"]}]
    for parameters in given:
        HouseModel(parameters=parameters).invoke("hello", {"callbacks": [callback]})
    assert [call.granted for call in callback.spend.calls] == [50, 80, 50, 50, 50]
