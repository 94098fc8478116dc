"""Who a call is for: blocks nest, tasks inherit, bad values are refused."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from uuid import UUID

import pytest

from budgeted_agents.budget import ambient, attribute
from budgeted_agents.budget.attribution import DIMENSIONS, MAX_LENGTH, checked, from_metadata, passed_over
from budgeted_agents.errors import InvalidAttribution


def test_nobody_is_attributed_to_begin_with() -> None:
    assert ambient() == {}


def test_inner_blocks_add_to_outer_ones_and_win_over_them() -> None:
    with attribute(tenant="acme", feature="search"):
        with attribute(feature="chat", user="ann"):
            assert ambient() == {"tenant": "acme", "feature": "chat", "user": "ann"}
        assert ambient() == {"tenant": "acme", "feature": "search"}
    assert ambient() == {}


def test_a_block_ends_with_the_exception_that_leaves_it() -> None:
    with pytest.raises(RuntimeError, match="left"), attribute(tenant="acme"):
        raise RuntimeError("left")
    assert ambient() == {}


async def test_tasks_inherit_and_do_not_disturb_each_other() -> None:
    entered = asyncio.Barrier(2)

    async def work(user: str) -> dict[str, str]:
        with attribute(user=user):
            await entered.wait()
            return dict(ambient())

    with attribute(tenant="acme"):
        found = await asyncio.gather(work("ann"), work("bob"))
        assert ambient() == {"tenant": "acme"}
    assert list(found) == [{"tenant": "acme", "user": "ann"}, {"tenant": "acme", "user": "bob"}]


def test_a_thread_inherits_only_through_its_context() -> None:
    seen: list[dict[str, str]] = []
    with attribute(tenant="acme"):
        for run in (lambda target: target(), contextvars.copy_context().run):
            thread = threading.Thread(target=run, args=(lambda: seen.append(dict(ambient())),))
            thread.start()
            thread.join()
    assert seen == [{}, {"tenant": "acme"}]


@pytest.mark.parametrize("value", ["", "x" * (MAX_LENGTH + 1), 5.0, None, True, b"acme", ["acme"], "half \udc00"])
def test_a_bad_value_is_named_and_changes_nothing(value: object) -> None:
    with attribute(user="ann"):
        with pytest.raises(InvalidAttribution) as caught, attribute(feature="chat", tenant=value):  # type: ignore[arg-type]
            pytest.fail("the block must not be entered")
        assert ambient() == {"user": "ann"}
    error = caught.value
    assert (error.field, error.value, error.place) == ("tenant", value, "attribute(...)")
    assert error.remedy == "Give a non-empty string of at most 200 characters, a whole number or a UUID"


@pytest.mark.parametrize("name", ["", "n" * (MAX_LENGTH + 1)])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidAttribution) as caught:
        checked({name: "acme"}, place="attribution=")
    assert (caught.value.field, caught.value.place) == (name, "attribution=")


def test_metadata_gives_the_wanted_dimensions_and_passes_over_what_is_no_short_name() -> None:
    metadata: dict[str, object] = {
        "tenant": "acme",
        "user": 42,
        "cost_center": UUID(int=5),
        "feature": "x" * (MAX_LENGTH + 1),
        "node": None,
        "session": True,
        "tool": "",
        "workflow": ["a"],
        "environment": "\ud800",
        "langgraph_step": 3,
        "color": "blue",
    }
    found = {"tenant": "acme", "user": "42", "cost_center": "00000000-0000-0000-0000-000000000005"}
    assert from_metadata(metadata) == found
    assert from_metadata(metadata, DIMENSIONS | {"color"}) == {**found, "color": "blue"}
    assert passed_over(metadata, DIMENSIONS) == ["feature", "session", "workflow", "environment"]
    assert passed_over(metadata, DIMENSIONS - {"feature", "session"}) == ["workflow", "environment"]


def test_a_number_and_a_uuid_count_as_their_text() -> None:
    with attribute(user=42, tenant=UUID(int=5)):
        assert ambient() == {"user": "42", "tenant": "00000000-0000-0000-0000-000000000005"}
