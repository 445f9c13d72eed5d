"""A record written to a file that fails."""

import fastavro


class FullDisk:
    def write(self, data):
        raise OSError("no space left")


def work():
    try:
        fastavro.schemaless_writer(FullDisk(), {"type": "string"}, "drip")
    except OSError:
        pass
