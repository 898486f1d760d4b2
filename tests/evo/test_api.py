"""The life of a run, where no model is needed to see it."""

from __future__ import annotations

import asyncio

import pytest

from evo import api


def test_a_second_interrupt_is_an_interrupt_and_no_traceback_of_the_loop() -> None:
    async def cancelled() -> api.Run:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)
        raise AssertionError

    with pytest.raises(KeyboardInterrupt):
        api._to_its_end(cancelled())
