"""Form 3 of leak_check: a block that runs once. What outlived it?"""

from refleak import leak_check


class Session:
    opened = {}

    def __init__(self, name):
        self.name = name
        self.opened[name] = self

    def close(self):
        """Forget to take the session out of `opened`."""


with leak_check():
    session = Session("first")
    session.close()
    session = None
