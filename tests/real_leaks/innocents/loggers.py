"""A handler added, used and removed."""

import io
import logging

LOGGER = logging.getLogger("refleak.innocent")
LOGGER.propagate = False


def work():
    handler = logging.StreamHandler(io.StringIO())
    LOGGER.addHandler(handler)
    try:
        raise LookupError("drop")
    except LookupError:
        LOGGER.exception("lost")
    finally:
        LOGGER.removeHandler(handler)
        handler.close()
