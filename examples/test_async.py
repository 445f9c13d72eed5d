"""Async code: the decorator awaits each round in the event loop that is running."""

import asyncio

from refleak import assert_no_leaks

waiting = []


async def fetch():
    answer = asyncio.get_running_loop().create_future()
    waiting.append(answer)


@assert_no_leaks
async def test_fetch():
    await fetch()


@assert_no_leaks
async def test_sleep():
    await asyncio.sleep(0)


if __name__ == "__main__":
    asyncio.run(test_sleep())
    asyncio.run(test_fetch())
