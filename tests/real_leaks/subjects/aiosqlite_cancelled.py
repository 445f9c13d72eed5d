"""A connection that is cancelled while it is being made."""

import asyncio

import aiosqlite


async def connect():
    async with aiosqlite.connect(":memory:"):
        pass


async def main():
    task = asyncio.ensure_future(connect())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0.01)


def work():
    asyncio.run(main())
