"""The smallest whole trace of each platform and benchmark."""

from __future__ import annotations

from typing import Any

LANGFUSE: dict[str, Any] = {
    "trace": {"id": "t1", "projectId": "p", "name": "support", "sessionId": "s1", "tags": ["eu"]},
    "observations": [
        {
            "id": "o1",
            "traceId": "t1",
            "type": "GENERATION",
            "parentObservationId": "o0",
            "startTime": "2026-03-09T12:26:03.164Z",
            "model": "gpt-4o-mini",
            "usageDetails": {"input": 100, "output": 10, "total": 110, "input_cache_read": 0},
            "costDetails": {"total": 0.00012},
            "metadata": {"langgraph_node": "plan", "attributes": {"gen_ai.agent.name": "planner"}},
        },
        {"id": "o2", "traceId": "t1", "type": "TOOL", "name": "search", "input": {"query": "x"}, "metadata": "{}"},
    ],
}

LANGSMITH: dict[str, Any] = {
    "post": [
        {
            "id": "r1",
            "trace_id": "r0",
            "run_type": "llm",
            "start_time": "2024-10-11T20:58:24.5+00:00",
            "extra": {"metadata": {"ls_model_name": "o1-mini", "thread_id": "chat-7"}},
            "tags": ["eu"],
        },
        {"id": "r2", "trace_id": "r0", "run_type": "tool", "name": "search", "inputs": {"input": "x"}, "error": "E()"},
    ],
    "patch": [
        {
            "id": "r1",
            "end_time": "2024-10-11T20:58:39.5+00:00",
            "outputs": {
                "model": "o1-mini-2024-09-12",
                "generations": [[{"message": {"kwargs": {"response_metadata": {}}}}]],
                "usage_metadata": {
                    "input_tokens": 43,
                    "output_tokens": 9,
                    "total_tokens": 52,
                    "input_token_details": {"cache_read": 4},
                },
            },
            "total_cost": "0.0301",
        }
    ],
}

TAU2: dict[str, Any] = {
    "timestamp": "2026-03-14T08:04:43.866779",
    "info": {"agent_info": {"llm": "gpt-4.1-mini"}, "user_info": {"llm": "gpt-4.1"}},
    "simulations": [
        {
            "id": "sim-1",
            "task_id": "14",
            "start_time": "2026-03-14T08:03:50",
            "end_time": "2026-03-14T08:04:43",
            "agent_cost": 0.002,
            "user_cost": 0.001,
            "reward_info": {"reward": 1.0},
            "messages": [
                {"role": "assistant", "cost": 0.0, "usage": None},
                {
                    "role": "user",
                    "timestamp": "2026-03-14T08:03:52",
                    "cost": 0.001,
                    "usage": {"prompt_tokens": 2309, "completion_tokens": 48},
                },
                {
                    "role": "assistant",
                    "timestamp": "2026-03-14T08:03:54",
                    "cost": 0.002,
                    "usage": {"prompt_tokens": 6303, "completion_tokens": 60},
                    "tool_calls": [{"name": "get_customer", "arguments": {"id": "c1"}}],
                    "raw_data": {"message": {}},
                },
                {"role": "tool", "error": False},
            ],
        }
    ],
}

SWE_AGENT: dict[str, Any] = {
    "environment": "main",
    "trajectory": [
        {"action": "find_file missing_colon.py", "observation": "Found 1", "execution_time": 0.25},
        {"action": "submit", "observation": "", "execution_time": 0.5},
    ],
    "info": {
        "exit_status": "submitted",
        "model_stats": {"instance_cost": 0.02, "tokens_sent": 7141, "tokens_received": 243, "api_calls": 5},
    },
    "replay_config": '{"agent": {"model": {"name": "gpt-4o"}}, "problem_statement": {"id": "repo-i1"}}',
}

MINI_SWE_AGENT: dict[str, Any] = {
    "info": {
        "model_stats": {"instance_cost": 0.03, "api_calls": 2},
        "config": {"model": {"model_name": "anthropic/claude-sonnet-4-5"}},
        "mini_version": "2.4.6",
        "exit_status": "Submitted",
    },
    "messages": [
        {"role": "system", "content": ""},
        {
            "role": "assistant",
            "extra": {
                "cost": 0.01,
                "timestamp": 1770000000.5,
                "actions": [{"command": "ls", "tool_call_id": "call_1"}],
                "response": {
                    "id": "chatcmpl-1",
                    "model": "claude-sonnet-4-5-20250929",
                    "usage": {
                        "prompt_tokens": 1000,
                        "completion_tokens": 50,
                        "total_tokens": 1050,
                        "prompt_tokens_details": {"cached_tokens": 800},
                    },
                },
            },
        },
        {
            "role": "user",
            "content": "that was no action",
            "extra": {
                "cost": 0.02,
                "response": {"id": "chatcmpl-2", "usage": {"prompt_tokens": 1100, "completion_tokens": 60}},
            },
        },
        {"role": "exit", "extra": {"exit_status": "Submitted"}},
    ],
    "trajectory_format": "mini-swe-agent-1.1",
    "instance_id": "django__django-10914",
}

OPENHANDS: dict[str, Any] = {
    "id": "conversation-1",
    "agent": {"kind": "Agent"},
    "execution_status": "finished",
    "stats": {
        "usage_to_metrics": {
            "agent": {
                "model_name": "anthropic/claude-sonnet-4-5",
                "accumulated_cost": 0.03,
                "accumulated_token_usage": {"prompt_tokens": 2100, "completion_tokens": 110, "cache_read_tokens": 800},
                "costs": [
                    {"model": "anthropic/claude-sonnet-4-5", "cost": 0.01, "timestamp": 1770000010.5},
                    {"model": "anthropic/claude-sonnet-4-5", "cost": 0.02, "timestamp": 1770000020.5},
                ],
                "token_usages": [
                    {"prompt_tokens": 1000, "completion_tokens": 50, "cache_read_tokens": 0, "response_id": "m1"},
                    {"prompt_tokens": 1100, "completion_tokens": 60, "cache_read_tokens": 800, "response_id": "m2"},
                ],
                "response_latencies": [{"latency": 2.5, "response_id": "m1"}, {"latency": 1, "response_id": "m2"}],
            },
        }
    },
}

ATIF: dict[str, Any] = {
    "schema_version": "ATIF-v1.7",
    "session_id": "session-1",
    "trajectory_id": "main",
    "agent": {"name": "terminus", "version": "2", "model_name": "anthropic/claude-sonnet-4-5"},
    "steps": [
        {"step_id": 1, "source": "user", "message": "go"},
        {
            "step_id": 2,
            "source": "agent",
            "timestamp": "2026-01-15T10:00:05Z",
            "model_name": "claude-haiku-4-5",
            "metrics": {"prompt_tokens": 100, "completion_tokens": 9, "cached_tokens": 60, "cost_usd": 0.01},
            "tool_calls": [{"tool_call_id": "c1", "function_name": "bash", "arguments": {"command": "ls"}}],
        },
    ],
    "final_metrics": {"total_prompt_tokens": 100, "total_completion_tokens": 9, "total_cost_usd": 0.01},
    "subagent_trajectories": [],
}

INSPECT_AI: dict[str, Any] = {
    "version": 2,
    "status": "success",
    "eval": {"task": "popularity", "run_id": "run-1", "model": "openai/gpt-4o-mini"},
    "samples": [
        {
            "id": 1,
            "epoch": 2,
            "scores": {"match": {"value": "C"}},
            "model_usage": {"openai/gpt-4o-mini": {"input_tokens": 63, "output_tokens": 2, "total_tokens": 65}},
            "events": [
                {"event": "sample_init"},
                {
                    "event": "model",
                    "uuid": "e1",
                    "model": "openai/gpt-4o-mini",
                    "timestamp": "2025-02-11T15:17:00-05:00",
                    "role": "solver",
                    "output": {
                        "model": "gpt-4o-mini-2024-07-18",
                        "usage": {"input_tokens": 63, "output_tokens": 2, "total_tokens": 65},
                        "time": 0.5,
                    },
                },
                {
                    "event": "tool",
                    "id": "t1",
                    "timestamp": "2025-02-11T15:17:01-05:00",
                    "function": "bash",
                    "arguments": {"cmd": "ls"},
                    "error": {"type": "timeout"},
                },
            ],
        }
    ],
    "stats": {"model_usage": {"openai/gpt-4o-mini": {"input_tokens": 63, "output_tokens": 2, "total_tokens": 65}}},
}

EXAMPLES: dict[str, tuple[str, Any]] = {
    "atif": ("trajectory.json", ATIF),
    "inspect_ai": ("log.json", INSPECT_AI),
    "langfuse": ("trace.json", LANGFUSE),
    "langsmith": ("batch.json", LANGSMITH),
    "mini_swe_agent": ("django__django-10914.traj.json", MINI_SWE_AGENT),
    "openhands": ("base_state.json", OPENHANDS),
    "swe_agent": ("repo-i1.traj", SWE_AGENT),
    "tau2": ("results.json", TAU2),
}
"""By format: a file's name, and what is in it."""
