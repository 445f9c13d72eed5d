"""A pool of threads for each call."""

from concurrent.futures import ThreadPoolExecutor


def work():
    with ThreadPoolExecutor(3) as pool:
        sum(pool.map(len, ["drip", "drop"] * 5))
