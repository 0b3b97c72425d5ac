"""Show a model's answer on the page, or why there is none."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from stages.serving.container.errors import Refusal
from stages.serving.page.html import note, one_block

PATIENCE = 60
"""Largest number of requests to a model that is still loading, one per second."""


async def answered(ask: Callable[[], Awaitable[str]]) -> AsyncIterator[str]:
    """Yield the HTML that ``ask`` returns, or its error message. While the model is loading, yield a note and retry.

    ``ask`` may raise Refusal, or ValueError with a message for people.
    """
    for _ in range(PATIENCE):
        try:
            yield one_block(await ask())
        except Refusal as refusal:
            if refusal.code == "loading":
                yield one_block(note("This model is still loading. The answer appears when it is ready."))
                await asyncio.sleep(1)
                continue
            yield one_block(note(f"No answer: {refusal.message}"))
        except ValueError as error:
            yield one_block(note(f"No answer: {error}"))
        return
    yield one_block(note("This model is still loading. Try again in a minute."))
