"""Form 2 of leak_check: a block, repeated by a loop."""

from refleak import leak_check

seen = {}


class Visitor:
    pass


for _ in leak_check(stab=3, run=5):
    visitor = Visitor()
    seen[id(visitor)] = visitor
