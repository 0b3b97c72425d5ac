"""A model's answer in the place for it: what was asked for, or a sentence on why there is none."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from stages.serving.container.errors import Refusal
from stages.serving.page.html import note, one_block

PATIENCE = 60
"""How often a model that is still loading is asked, once a second."""


async def answered(ask: Callable[[], Awaitable[str]]) -> AsyncIterator[str]:
    """What ``ask`` makes of the answer, as HTML. Instead of a refusal its sentence; while the model loads, a word on that.

    ``ask`` may raise Refusal, and ValueError with a sentence for people.
    """
    for _ in range(PATIENCE):
        try:
            yield one_block(await ask())
        except Refusal as refusal:
            if refusal.code == "loading":
                yield one_block(note("This model is still loading. The answer comes as soon as it is there."))
                await asyncio.sleep(1)
                continue
            yield one_block(note(f"No answer: {refusal.message}"))
        except ValueError as error:
            yield one_block(note(f"No answer: {error}"))
        return
    yield one_block(note("This model is still loading. Try again in a minute."))
