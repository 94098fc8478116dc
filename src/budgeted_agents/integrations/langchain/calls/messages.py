"""LangChain messages as what the token counter counts: pieces of text, and a fixed number of tokens for the rest."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping, Sequence
from functools import cache
from operator import is_
from typing import Any, Final

import orjson
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from budgeted_agents.estimate import PER_PAGE, HistoryCounter, Parts, Tokenizer, pages_of, tokenizer_for

AUDIO_BYTES_PER_TOKEN: Final = 400
"""Compressed speech at 32 kbit/s is 400 bytes for the 100 ms that OpenAI counts as one token; other codecs use more."""

_IMAGES = frozenset({"image", "image_url", "input_image"})
_AUDIO = frozenset({"audio", "input_audio"})
_FILES = frozenset({"file", "input_file", "document", "media"})
_as_json = json.JSONEncoder(default=str, ensure_ascii=False).encode
"""Arguments and blocks as providers get them; ``json.dumps`` would look for its encoder anew each time."""

_TOOLS = ("tools", "functions")
_FORMATS = (
    "response_format",
    "output_config",
    "output_format",
    "response_json_schema",
    "response_schema",
    "response_mime_type",
    "format",
)
FORMAT_FIELDS: Final = frozenset(_FORMATS)
"""Parameters of a call that say what form its answer has: OpenAI's, Anthropic's, Google's, Ollama's."""

SCHEMA_FIELDS: Final = FORMAT_FIELDS.union(_TOOLS)
"""Parameters of a call that hold schemas."""

CACHE_CONTROL: Final = "cache_control"
"""Where a content block, a tool or a call asks for the prompt cache (Anthropic)."""

_SKIPPED = frozenset({"id", "index", "cache_control", "signature", "type", "extras"})


def count(model: str, messages: Sequence[BaseMessage], schemas: Sequence[str] = ()) -> int:
    """The likely number of input tokens of a prompt for a model. No message is counted twice."""
    return counter(model).count(messages, schemas).estimate(model)


def counter(model: str) -> HistoryCounter[BaseMessage]:
    """What counts the prompts of a model."""
    return _counter_for(tokenizer_for(model))


@cache
def _counter_for(tokenizer: Tokenizer) -> HistoryCounter[BaseMessage]:
    """One counter a tokenizer, for every session of the process."""
    return HistoryCounter(tokenizer, parts_of)


def parts_of(message: BaseMessage) -> Parts:
    """What there is to count in a message."""
    texts: list[str] = []
    tokens = images = 0
    content = message.content
    if isinstance(content, str):
        texts.append(content)
    else:
        for block in content:
            if isinstance(block, Mapping) and block.get("type") in _IMAGES:
                images += 1
            else:
                tokens += _add_block(block, texts)
    if message.name:
        texts.append(message.name)
    if isinstance(message, AIMessage):
        for call in message.tool_calls:
            texts += (call["name"], _arguments(call["args"]))
            tokens += 12  # the call's id and its framing
    elif isinstance(message, ToolMessage):
        tokens += 12
    return Parts(texts, images, tokens)


def _arguments(arguments: Mapping[str, Any]) -> str:
    """Arguments of a tool call as JSON, spaced as providers get it, except inside of what is nested."""
    try:
        pairs = [f'"{name}": {orjson.dumps(value, default=str).decode()}' for name, value in arguments.items()]
    except (orjson.JSONEncodeError, AttributeError):  # half a character, a huge integer; no mapping at all
        return _as_json(arguments)
    return f"{{{', '.join(pairs)}}}"


def _add_block(block: str | Mapping[str, Any], texts: list[str]) -> int:
    """Add a content block's texts; the tokens of what is not text."""
    if isinstance(block, str):
        texts.append(block)
        return 0
    if block.get("type") in _AUDIO:
        return _encoded_bytes(block) // AUDIO_BYTES_PER_TOKEN + 1
    if block.get("type") in _FILES and (pdf := _pdf(block)):
        return PER_PAGE * pages_of(pdf)
    for name, value in block.items():
        if name not in _SKIPPED and value:
            texts.append(value if isinstance(value, str) else _as_json(value))
    return 4


def _encoded_bytes(block: Mapping[str, Any]) -> int:
    """Bytes of base64 data anywhere in a block."""
    inner = block.get("input_audio") or block.get("audio") or block
    data = inner.get("data") or inner.get("base64") or "" if isinstance(inner, Mapping) else ""
    return len(data) * 3 // 4 if isinstance(data, str) else 0


def finish_reason(answer: BaseMessage) -> str:
    """Why an answer ended, in its provider's own word; empty where it does not say."""
    said = answer.response_metadata
    return str(next((said[name] for name in _FINISH_REASONS if said.get(name)), ""))


_FINISH_REASONS = ("finish_reason", "stop_reason", "done_reason")


def _pdf(block: Mapping[str, Any]) -> bytes:
    """The PDF in a block, wherever its format puts it; empty if there is none."""
    for holder in (block, block.get("file"), block.get("source")):
        if isinstance(holder, Mapping):
            data = holder.get("base64") or holder.get("data") or holder.get("file_data")
            if isinstance(data, str) and _PDF in data[:_HEAD]:
                return _decoded(data[data.index(_PDF) :])
            if isinstance(data, bytes) and data.startswith(b"%PDF"):
                return data
    return b""


_PDF, _HEAD = "JVBERi", 100
"""How a PDF begins in base64, and within how many characters, since a data URL says its type before it."""


def _decoded(data: str) -> bytes:
    try:
        return b64decode(data)
    except ValueError:
        return b""


def blocks_of(messages: Sequence[BaseMessage]) -> list[Mapping[str, Any]]:
    """The content blocks of all messages that are not plain text."""
    rich = [message.content for message in messages if message.content.__class__ is not str]
    return [block for content in rich for block in content if isinstance(block, Mapping)]


def modalities(blocks: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """``image`` and ``audio`` where some content block is one: they may be priced apart."""
    if not blocks:
        return ()
    kinds = {block.get("type") for block in blocks}
    return tuple(name for name, known in (("image", _IMAGES), ("audio", _AUDIO)) if kinds & known) if kinds else ()


def cache_write(blocks: Sequence[Mapping[str, Any]], kwargs: Mapping[str, Any]) -> Any:
    """The longest prompt-cache lifetime some content block, a tool or the call itself asks for: ``None``, ``"5m"`` or
    ``"1h"``."""
    asked = None
    for part in (*blocks, *(kwargs.get("tools") or ()), kwargs):
        if part.__class__ is dict and (control := part.get(CACHE_CONTROL)):
            asked = "1h" if asked == "1h" or control.get("ttl") == "1h" else "5m"
    return asked


def searches_allowed(kwargs: Mapping[str, Any]) -> int:
    """How many web searches the provider may run for a call: as many as its tool says at most, or one."""
    allowed = 0
    for tool in kwargs.get("tools") or ():
        if not isinstance(tool, Mapping):
            continue
        if tool.get("google_search") is not None or str(tool.get("type")).startswith(_WEB_SEARCH):
            most = tool.get("max_uses")
            allowed += most if isinstance(most, int) else 1
    return allowed


_WEB_SEARCH = "web_search"
SEARCH: Final = "_search"
"""Part of the name of every tool by which a provider searches."""


def schema_texts(kwargs: Mapping[str, Any]) -> list[str]:
    """Tool schemas and response formats, as the provider gets them: they count as input tokens."""
    schemas = [kwargs.get(name) for name in (*_TOOLS, *_FORMATS)]
    return [_remembered_text(schema) for schema in schemas if schema]


_MOST_SCHEMAS = 256
_known_schemas: dict[int, tuple[object, list[object], str]] = {}
"""Text of schemas seen before, by identity: a model is bound to the same list of tools at every call. The parts are
kept beside it, so that a list that was changed in place is not taken for what it was."""


def _remembered_text(schema: object) -> str:
    known = _known_schemas.get(id(schema))
    parts = list(schema) if isinstance(schema, list) else []
    if known is not None and known[0] is schema and len(known[1]) == len(parts) and all(map(is_, known[1], parts)):
        return known[2]
    text = _schema_text(schema)
    if len(_known_schemas) >= _MOST_SCHEMAS:
        _known_schemas.clear()
    _known_schemas[id(schema)] = (schema, parts, text)
    return text


def _schema_text(schema: object) -> str:
    if isinstance(schema, type):
        described = getattr(schema, "model_json_schema", None)
        return json.dumps(described()) if described else repr(schema)
    return json.dumps(schema, default=_described, ensure_ascii=False)


def _described(value: object) -> object:
    described = getattr(value, "model_json_schema", None)
    return described() if described else repr(value)
