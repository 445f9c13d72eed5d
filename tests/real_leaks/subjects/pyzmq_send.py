"""A message that no socket can send."""

import zmq

SOCKET = zmq.Context().socket(zmq.PAIR)


class Message:
    pass


def work():
    try:
        SOCKET.send(Message())
    except TypeError:
        pass
