"""JSON written to a file that fails."""

import ujson

TABLE = {f"key {n}": "x" * n for n in range(30)}


class FullDisk:
    def write(self, text):
        raise OSError("no space left")


def work():
    try:
        ujson.dump(TABLE, FullDisk())
    except OSError:
        pass
