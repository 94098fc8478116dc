"""What LangChain's cache keeps of a governed model: only answers that the first model gave to all it was asked.

The cache knows an answer by the first model and the whole prompt. One by a cheaper model, or one that was shortened to
what the money bought, would be given to every later caller of the first model as its own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from langchain_core.caches import BaseCache
from langchain_core.globals import get_llm_cache
from langchain_core.language_models import BaseChatModel


def keeping_if(model: BaseChatModel, is_as_asked: Callable[[], bool]) -> BaseChatModel:
    """The model for one call, whose answer its cache keeps only if this is true when it has come."""
    given = model.cache
    cache = given if isinstance(given, BaseCache) else None if given is False else get_llm_cache()
    if cache is None:
        return model
    twin = copy.copy(model)
    twin.__dict__["cache"] = _Choosy(cache, is_as_asked)
    return twin


class _Choosy(BaseCache):
    """Another cache, which keeps an answer on a condition."""

    def __init__(self, cache: BaseCache, is_kept: Callable[[], bool]) -> None:
        self._cache = cache
        self._is_kept = is_kept

    def lookup(self, prompt: str, llm_string: str) -> Any:
        return self._cache.lookup(prompt, llm_string)

    async def alookup(self, prompt: str, llm_string: str) -> Any:
        return await self._cache.alookup(prompt, llm_string)

    def update(self, prompt: str, llm_string: str, return_val: Any) -> None:
        if self._is_kept():
            self._cache.update(prompt, llm_string, return_val)

    async def aupdate(self, prompt: str, llm_string: str, return_val: Any) -> None:
        if self._is_kept():
            await self._cache.aupdate(prompt, llm_string, return_val)

    def clear(self, **kwargs: Any) -> None:
        self._cache.clear(**kwargs)

    async def aclear(self, **kwargs: Any) -> None:
        await self._cache.aclear(**kwargs)
