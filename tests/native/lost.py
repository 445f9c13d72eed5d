"""What the extension loses on request."""

from __future__ import annotations

QUANTITIES = {
    "malloc": "native heap",
    "small_malloc": "native heap",
    "big_malloc": "native heap",
    "calloc": "native heap",
    "realloc": "native heap",
    "raw_malloc": "native heap",
    "mmap": "anonymous mappings",
    "thread_not_joined": "anonymous mappings",
    "pymem": "memory blocks",
    "pyobject_malloc": "memory blocks",
    "object": "objects",
    "descriptor": "file descriptors",
}
"""Each function of the extension, and the quantity that its leak must show in."""


def calling(function, *, leak, fail):
    """Return what calls the function without arguments, and bears it that it fails."""

    def call():
        try:
            function(leak, fail)
        except ValueError:
            assert fail

    return call
