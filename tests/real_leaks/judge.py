"""Judge the ``work()`` of a file; the process ends even where threads leaked."""

from __future__ import annotations

import importlib.util
import json
import os
import sys

import refleak


def main(path: str, *ignore: str) -> None:
    """Print the verdict as a line of JSON."""
    spec = importlib.util.spec_from_file_location("real_leak", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["real_leak"] = module
    spec.loader.exec_module(module)
    report = refleak.find_leaks(module.work, ignore=ignore)
    facts = {
        "leaking": report.leaking,
        "summary": report.summary(),
        "text": str(report),
        "wrapt": str(sys.modules["wrapt"].__file__),
    }
    print("verdict: " + json.dumps(facts), flush=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    finally:
        sys.stdout.flush()
        sys.excepthook(*sys.exc_info()) if sys.exc_info()[0] else None
        os._exit(0)
