"""An event loop for each call, with a timeout in it."""

import asyncio


async def main():
    await asyncio.gather(*(asyncio.sleep(0, n) for n in range(4)))
    try:
        await asyncio.wait_for(asyncio.Event().wait(), 0.001)
    except asyncio.TimeoutError:
        pass


def work():
    asyncio.run(main())
