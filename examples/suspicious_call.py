"""Form 1 of leak_check: a callable, called repeatedly. LeakError names it."""

from refleak import leak_check

history = []


class Document:
    def __init__(self, text):
        self.text = text


def parse(text):
    document = Document(text)
    history.append(document)
    return document


with leak_check() as check:
    check(parse, "<p>text</p>")
