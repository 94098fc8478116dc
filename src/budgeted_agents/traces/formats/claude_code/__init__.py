"""Claude Code: transcripts (``~/.claude/projects``), and what ``claude -p`` prints as JSON or as a stream of it."""

from budgeted_agents.traces.formats.claude_code.format import FORMAT

__all__ = ["FORMAT"]
