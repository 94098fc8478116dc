"""Names of attributes, in the conventions of OpenTelemetry, OpenInference, OpenLLMetry and our own records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from budgeted_agents.traces.call import Kind

_TEXTS: Mapping[str, tuple[str, ...]] = {
    "operation": ("gen_ai.operation.name",),
    "span_kind": ("openinference.span.kind",),
    "entity_kind": ("traceloop.span.kind",),
    "request_kind": ("llm.request.type",),
    "sdk_operation": ("ai.operationId",),
    "provider": ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "ai.model.provider"),
    "model": (
        "gen_ai.response.model",
        "llm.response.model_name",
        "llm.model_name",
        "embedding.model_name",
        "ai.response.model",
    ),
    "model_asked": ("budget.model_asked", "gen_ai.request.model", "llm.request.model_name", "ai.model.id"),
    "service_tier": (
        "budget.service_tier",
        "gen_ai.openai.response.service_tier",
        "openai.response.service_tier",
        "gen_ai.response.service_tier",
    ),
    "region": ("budget.region",),
    "cost": (
        "budget.cost_usd",
        "operation.cost",
        "gen_ai.usage.cost",
        "gen_ai.usage.total_cost",
        "llm.cost.total",
        "gen_ai.cost.total_cost",
    ),
    "conversation": ("gen_ai.conversation.id",),
    "session": (
        "session.id",
        "langfuse.session.id",
        "traceloop.association.properties.session_id",
        "traceloop.association.properties.thread_id",
        "gcp.vertex.agent.session_id",
        "langsmith.metadata.session_id",
        "langsmith.metadata.thread_id",
    ),
    "node": (
        "budget.attribution.node",
        "gen_ai.agent.name",
        "agent.name",
        "graph.node.name",
        "graph.node.id",
        "langsmith.metadata.langgraph_node",
        "traceloop.entity.name",
        "gen_ai.agent.id",
    ),
    "metadata": ("metadata",),
    "tool": ("gen_ai.tool.name", "tool.name", "ai.toolCall.name"),
    "arguments": (
        "gen_ai.tool.call.arguments",
        "tool_arguments",
        "ai.toolCall.args",
        "traceloop.entity.input",
        "input.value",
    ),
    "user": ("budget.attribution.user", "user.id", "enduser.id", "langfuse.user.id", "gen_ai.user.id",
             "traceloop.association.properties.user_id"),
    "tenant": ("budget.attribution.tenant", "tenant.id", "traceloop.association.properties.tenant_id",
               "traceloop.association.properties.customer_id"),
    "workflow": ("budget.attribution.workflow", "gen_ai.workflow.name", "traceloop.workflow.name"),
    "environment": ("budget.attribution.environment", "deployment.environment.name", "deployment.environment",
                    "langfuse.environment"),
    "service": ("service.name",),
    "feature": ("budget.attribution.feature",),
    "error": ("error.type", "exception.type"),
    "reservation": ("budget.reservation.id",),
    "outcome": ("budget.outcome",),
    "flags": ("budget.flags",),
}  # fmt: skip

_USAGE = "gen_ai.usage."
_COUNTS: Mapping[str, tuple[str, ...]] = {
    "prompt": (
        f"{_USAGE}input_tokens",
        f"{_USAGE}prompt_tokens",
        "llm.token_count.prompt",
        "llm.usage.prompt_tokens",
        "ai.usage.tokens",
    ),
    "completion": (
        f"{_USAGE}output_tokens",
        f"{_USAGE}completion_tokens",
        "llm.token_count.completion",
        "llm.usage.completion_tokens",
    ),
    "total": (f"{_USAGE}total_tokens", "llm.usage.total_tokens", "llm.token_count.total"),
    "cache_read": (
        f"{_USAGE}cache_read.input_tokens",
        f"{_USAGE}cache_read_input_tokens",
        f"{_USAGE}input_tokens.cached",
        f"{_USAGE}cached_input_tokens",
        f"{_USAGE}details.cache_read_tokens",
        "llm.token_count.prompt_details.cache_read",
        "llm.token_count.prompt_details.cache_input",
        "ai.usage.inputTokenDetails.cacheReadTokens",
        "ai.usage.cachedInputTokens",
    ),
    "cache_write": (
        f"{_USAGE}cache_write.input_tokens",
        f"{_USAGE}cache_creation.input_tokens",
        f"{_USAGE}cache_creation_input_tokens",
        f"{_USAGE}cache_write_input_tokens",
        f"{_USAGE}details.cache_write_tokens",
        "llm.token_count.prompt_details.cache_write",
        "ai.usage.inputTokenDetails.cacheWriteTokens",
    ),
    "cache_write_5m": ("budget.usage.cache_write_5m",),
    "cache_write_1h": ("budget.usage.cache_write_1h",),
    "reasoning": (
        f"{_USAGE}reasoning.output_tokens",
        f"{_USAGE}reasoning_tokens",
        f"{_USAGE}output_tokens.reasoning",
        f"{_USAGE}details.reasoning_tokens",
        f"{_USAGE}details.thoughts_tokens",
        "llm.token_count.completion_details.reasoning",
        "ai.usage.outputTokenDetails.reasoningTokens",
        "ai.usage.reasoningTokens",
    ),
    "reasoning_beside": (f"{_USAGE}experimental.reasoning_tokens",),
    "audio_input": (f"{_USAGE}audio.input_tokens", "llm.token_count.prompt_details.audio"),
    "image_input": (f"{_USAGE}image.input_tokens", f"{_USAGE}video.input_tokens"),
    "audio_output": (f"{_USAGE}audio.output_tokens", "llm.token_count.completion_details.audio"),
    "image_output": (f"{_USAGE}image.output_tokens",),
    "web_searches": ("budget.usage.web_searches",),
}
"""Token counts. Sums include their parts in every one of these conventions, unless a writer errs. Only older releases
of Google's ADK count what was thought beside the output."""


COUNTS = frozenset(_COUNTS)

MEANING: Mapping[str, str] = {
    name: slot for slots in (_TEXTS, _COUNTS) for slot, names in slots.items() for name in names
}
"""What each attribute says or counts."""

RANK: Mapping[str, int] = {
    name: rank for slots in (_TEXTS, _COUNTS) for names in slots.values() for rank, name in enumerate(names)
}
"""Of several attributes that mean the same thing, the one with the lowest number is believed."""

Role = Kind | Literal["sum", ""]
"""What a span may be: a kind of call, perhaps the sum of others, or surely no call."""

SUM: Final = "sum"
NO_CALL: Final = ""

_CALLS: Mapping[str, Role] = {
    "chat": "model",
    "generate_content": "model",
    "text_completion": "model",
    "completion": "model",
    "responses": "model",
    "anthropic_messages": "model",
    "embeddings": "embedding",
    "embedding": "embedding",
}

REQUEST_KINDS: Mapping[str, Role] = {**_CALLS, **{f"a{name}": role for name, role in _CALLS.items()}}
"""``llm.request.type``, of OpenLLMetry and of LiteLLM, whose asynchronous calls have names of their own. What is in no
list may be anything."""

OPERATIONS: Mapping[str, Role] = {
    **REQUEST_KINDS,
    "execute_tool": "tool",
    "invoke_agent": NO_CALL,
    "create_agent": NO_CALL,
    "invoke_workflow": NO_CALL,
    "plan": NO_CALL,
    "retrieval": NO_CALL,
    "handoff": NO_CALL,
    "gen_ai.invocation.internal": NO_CALL,
}
"""``gen_ai.operation.name``. What is in no list may be anything."""

SPAN_KINDS: Mapping[str, Role] = {"LLM": "model", "EMBEDDING": "embedding", "TOOL": "tool"}
"""``openinference.span.kind``; all others are no calls."""

SDK_CALLS: Mapping[str, Role] = {
    "doGenerate": "model", "doStream": "model", "doEmbed": "embedding", "toolCall": "tool",
}  # fmt: skip
"""How the Vercel AI SDK's ``ai.operationId`` ends at the calls themselves; all others are sums over those."""

SUMMING_SCOPES = frozenset({"pydantic-ai"})
"""Instrumentations whose spans without an operation are runs of agents, with the sum of what their calls used."""

CALLING_SCOPES = frozenset({"gcp.vertex.agent"})
"""Instrumentations whose spans without an operation are calls if they count tokens: what the answer of a call in
Google's ADK leads to, tools and other agents, stands below it."""
