"""The research agent's tools: search the documents, read one, calculate."""

from __future__ import annotations

from pathlib import Path

from langchain_core.tools import BaseTool, ToolException, tool

from graphs.calculator import CalculationError, calculate
from graphs.documents import DocumentError, Documents, Passage


def research_tools(folder: Path) -> list[BaseTool]:
    """Tools over the documents of a folder. A tool's message carries the names of the files it saw as its artifact.

    A tool that cannot do what it is asked says so to the model and does not end the run.

    Raises:
        DocumentError: if the folder is none.
    """
    documents = Documents(folder)

    @tool(response_format="content_and_artifact")
    def search_documents(query: str) -> tuple[str, list[str]]:
        """Search the documents for a few key words. Returns the best passages, each with its file and line."""
        hits = documents.search(query)
        text = "\n\n".join(f"{rank}. {_shown(hit)}" for rank, hit in enumerate(hits, start=1))
        return text or "No passage matches. Try other words.", [hit.file for hit in hits]

    @tool(response_format="content_and_artifact")
    def read_document(file: str, start_line: int = 1) -> tuple[str, list[str]]:
        """Read up to 80 lines of a document, from a line on. Take file and line from the search results."""
        try:
            section = documents.read(file, start_line)
        except DocumentError as error:
            raise ToolException(str(error)) from error
        return _shown(section), [section.file]

    @tool
    def calculator(expression: str) -> str:
        """Calculate an arithmetic expression, for example (1200 - 150) * 0.19."""
        try:
            return str(calculate(expression))
        except CalculationError as error:
            raise ToolException(str(error)) from error

    tools: list[BaseTool] = [search_documents, read_document, calculator]
    for each in tools:
        each.handle_tool_error = True
    return tools


def _shown(passage: Passage) -> str:
    return f"{passage.file}:{passage.line}\n{passage.text}"
