"""A logger for each of many files."""

import io

import structlog


def work():
    with io.StringIO() as file:
        structlog.WriteLogger(file).info("drip")
