"""Messages of every kind in the conventions' form, and how long they are held on to."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.tool import tool_call_chunk
from langgraph.types import Command

from budgeted_agents import Budget, CostCallback, budgeted_model
from budgeted_agents.integrations.langchain.calls.content import ModelContent, ToolContent
from budgeted_agents.testing import LocalProvider
from budgeted_agents.traces.records.journal import Journal
from tests.attach.support import openai, serving

DATA = "aGVsbG8="


def said(*prompt: BaseMessage, answer: tuple[BaseMessage, ...] = (), whole: bool = True) -> dict[str, Any]:
    content = ModelContent(prompt)
    content.answered(answer, whole=whole)
    found = {name.removeprefix("gen_ai."): value for name, value in content.attributes.items()}
    return {name: json.loads(value) if isinstance(value, str) else [*value] for name, value in found.items()}


def parts(message: BaseMessage) -> Any:
    return said(message)["input.messages"][0]["parts"]


def text(words: str) -> dict[str, str]:
    return {"type": "text", "content": words}


def test_what_is_said_by_whom() -> None:
    found = said(
        HumanMessage("ask", name="ann"),
        AIMessage("answer"),
        SystemMessage("rule"),
        ToolMessage("result", tool_call_id="c1"),
        FunctionMessage(content="result", name="f"),
        ChatMessage(content="order", role="developer"),
    )
    roles = [message["role"] for message in found["input.messages"]]
    assert roles == ["user", "assistant", "system", "tool", "tool", "developer"]
    assert found["input.messages"][0] == {"role": "user", "parts": [text("ask")], "name": "ann"}
    assert "system_instructions" not in found


def test_instructions_are_what_stands_before_the_history() -> None:
    found = said(SystemMessage("one"), SystemMessage([{"type": "text", "text": "two"}]), HumanMessage("ask"))
    assert found["system_instructions"] == [text("one"), text("two")]
    assert found["input.messages"] == [{"role": "user", "parts": [text("ask")]}]


MEDIA: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "data as OpenAI has it": (
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}},
        {"type": "blob", "modality": "image", "mime_type": "image/png", "content": DATA},
    ),
    "data as Anthropic has it": (
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": DATA}},
        {"type": "blob", "modality": "image", "mime_type": "image/jpeg", "content": DATA},
    ),
    "data in the address": (
        {"type": "image", "url": f"data:image/png;base64,{DATA}"},
        {"type": "blob", "modality": "image", "mime_type": "image/png", "content": DATA},
    ),
    "an address": (
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "uri", "modality": "image", "mime_type": None, "uri": "https://example.com/a.png"},
    ),
    "speech": (
        {"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}},
        {"type": "blob", "modality": "audio", "mime_type": "audio/wav", "content": DATA},
    ),
    "a file by its id": (
        {"type": "file", "file": {"file_id": "f1"}},
        {"type": "file", "modality": "document", "mime_type": None, "file_id": "f1"},
    ),
    "a document's text": ({"type": "text-plain", "text": "words", "mime_type": "text/plain"}, text("words")),
    "a document elsewhere": (
        {"type": "text-plain", "url": "https://example.com/a.txt", "mime_type": "text/plain"},
        {"type": "uri", "modality": "document", "mime_type": "text/plain", "uri": "https://example.com/a.txt"},
    ),
    "a provider's own": ({"type": "mine", "x": 1}, {"type": "mine", "x": 1}),
}


@pytest.mark.parametrize("kind", MEDIA)
def test_blocks_that_are_no_text(kind: str) -> None:
    block, part = MEDIA[kind]
    assert parts(HumanMessage([{"type": "text", "text": "Look:"}, block])) == [text("Look:"), part]


def test_what_a_model_thinks_and_calls() -> None:
    blocks: list[Any] = [
        {"type": "thinking", "thinking": "hmm", "signature": "s"},
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "c1", "name": "look_up", "input": {"word": "tree"}},
    ]
    calls: list[Any] = [{"name": "look_up", "args": {"word": "tree"}, "id": "c1"}]
    assert parts(AIMessage(blocks, tool_calls=calls, response_metadata={"model_provider": "anthropic"})) == [
        {"type": "reasoning", "content": "hmm"},
        text("Let me see."),
        {"type": "tool_call", "id": "c1", "name": "look_up", "arguments": {"word": "tree"}},
    ]


def test_calls_whose_arguments_are_no_json_and_calls_without_an_id_are_told_as_well() -> None:
    invalid: Any = {"name": "look_up", "args": '{"word', "id": "c1", "error": None}
    call: Any = {"name": "look_up", "args": {"word": "oak"}, "id": None}
    broken = {"type": "tool_call", "id": "c1", "name": "look_up", "arguments": '{"word'}
    nameless = {"type": "tool_call", "id": None, "name": "look_up", "arguments": {"word": "oak"}}
    for metadata in ({}, {"model_provider": "openai"}):
        message = AIMessage("", tool_calls=[call], invalid_tool_calls=[invalid], response_metadata=metadata)
        assert sorted(parts(message), key=str) == sorted([broken, nameless], key=str)


def test_a_message_that_makes_no_sense_is_passed_over() -> None:
    found = said(HumanMessage("before"), HumanMessage([{"type": "text"}]), HumanMessage("after"))
    assert [message["parts"] for message in found["input.messages"]] == [[text("before")], [text("after")]]
    assert found["budget.content.cut"] == ["gen_ai.input.messages"]


def test_what_the_provider_runs_itself() -> None:
    search = {"type": "web_search_call", "id": "s1", "status": "completed", "action": {"type": "search", "query": "q"}}
    called, result = parts(AIMessage([search], response_metadata={"model_provider": "openai"}))
    arguments = {"type": "search", "query": "q"}
    assert called == {
        "type": "server_tool_call",
        "id": "s1",
        "name": "web_search",
        "server_tool_call": {"type": "web_search", "arguments": arguments},
    }
    assert (result["type"], result["id"]) == ("server_tool_call_response", "s1")
    assert result["server_tool_call_response"]["type"] == "success"


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"finish_reason": "stop"}, "stop"),
        ({"finish_reason": "length"}, "length"),
        ({"finish_reason": "tool_calls"}, "tool_call"),
        ({"finish_reason": "MAX_TOKENS"}, "length"),
        ({"finish_reason": "SAFETY"}, "content_filter"),
        ({"stop_reason": "end_turn"}, "stop"),
        ({"stop_reason": "tool_use"}, "tool_call"),
        ({"stop_reason": "pause_turn"}, "pause_turn"),
        ({}, "stop"),
    ],
)
def test_why_an_answer_ended(metadata: dict[str, str], reason: str) -> None:
    (found,) = said(answer=(AIMessage("yes", response_metadata=metadata),))["output.messages"]
    assert found == {"role": "assistant", "parts": [text("yes")], "finish_reason": reason}


def test_several_answers_are_several_messages_and_chunks_are_one() -> None:
    assert len(said(answer=(AIMessage("one"), AIMessage("two")))["output.messages"]) == 2
    chunks = (AIMessageChunk(content="one "), AIMessageChunk(content="answer"))
    assert said(answer=chunks)["output.messages"][0]["parts"] == [text("one answer")]


def test_what_had_come_of_a_call_that_broke_off() -> None:
    chunk = AIMessageChunk(
        content="", tool_call_chunks=[tool_call_chunk(name="look_up", args='{"wo', id="c1", index=0)]
    )
    (found,) = said(answer=(chunk,), whole=False)["output.messages"]
    assert found["parts"] == [{"type": "tool_call", "id": "c1", "name": "look_up", "arguments": '{"wo'}]
    assert found["finish_reason"] == "error"
    assert "output.messages" not in said(answer=(AIMessageChunk(content=""),), whole=False)


@pytest.mark.parametrize(
    ("output", "result"),
    [
        ("a plant", "a plant"),
        (ToolMessage("a plant", tool_call_id="c1"), "a plant"),
        ({"kind": "plant"}, '{"kind":"plant"}'),
        (["a", 1], '["a",1]'),
        (Command(goto="end"), '"goto":"end"'),
        (None, None),
    ],
)
def test_what_tools_are_given_and_give_back(output: Any, result: str | None) -> None:
    content = ToolContent({"word": "tree"})
    content.answered(output)
    found = content.attributes
    assert found["gen_ai.tool.call.arguments"] == '{"word":"tree"}'
    assert (result is None and len(found) == 1) or str(result) in found["gen_ai.tool.call.result"]


def held() -> list[object]:
    """Content that somebody holds on to."""
    gc.collect()
    return [each for each in gc.get_objects() if type(each) in (ModelContent, ToolContent)]


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving() as provider:
        yield provider


@pytest.mark.parametrize("content", [True, False])
@pytest.mark.parametrize("governed", [True, False])
def test_content_is_held_while_a_call_goes_on_and_only_if_it_is_kept(
    provider: LocalProvider, tmp_path: Any, content: bool, governed: bool
) -> None:
    model = budgeted_model(openai(provider)) if governed else openai(provider)
    callback = CostCallback(budget=Budget(usd="1.00"), journal=Journal(tmp_path / "calls", content=content))
    answer = model.stream("Which trees grow here?", {"callbacks": [callback]})
    next(answer)
    assert len(held()) == (1 if content else 0)
    for _ in answer:
        pass
    assert len(callback.spend.calls) == 1
    assert held() == []


def test_it_does_not_print_itself() -> None:
    content = ModelContent([HumanMessage("a secret")])
    assert "secret" not in repr(content) + str(content) + repr(ToolContent("secret"))
