"""Cookies for ever new pages of one site."""

import asyncio
import itertools

from aiohttp import CookieJar
from yarl import URL


async def make_jar():
    return CookieJar()


LOOP = asyncio.new_event_loop()
JAR = LOOP.run_until_complete(make_jar())
JAR.update_cookies({"session": "17"}, URL("http://example.org/"))
PAGES = itertools.count()


def work():
    JAR.filter_cookies(URL(f"http://example.org/article/{next(PAGES)}"))
