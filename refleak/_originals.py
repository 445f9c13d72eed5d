"""Functions of the standard library, as they were when this library was imported.

The code under test may run while they are replaced: ``mock.patch("time.monotonic")`` counts who
calls it, in a list that grows like a leak; freezegun stops the time that bounds the rounds;
pyfakefs hides ``/proc``. Such tools look for the functions among the globals of all modules. Here
they are attributes of classes.
"""

from __future__ import annotations

import os
import time


class Clock:
    """What tells the time, and waits."""

    monotonic = staticmethod(time.monotonic)
    thread_time = staticmethod(time.thread_time)
    sleep = staticmethod(time.sleep)


class Files:
    """What asks the operating system about files."""

    close = staticmethod(os.close)
    getcwd = staticmethod(os.getcwd)
    listdir = staticmethod(os.listdir)
    open = staticmethod(os.open)
    read = staticmethod(os.read)
    readlink = staticmethod(os.readlink)
    stat = staticmethod(os.stat)
