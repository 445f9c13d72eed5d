"""A callback that is registered with each widget and never removed."""

from refleak import assert_no_leaks

on_click = []


class Widget:
    __slots__ = ()

    def __init__(self):
        on_click.append(self.clicked)

    def clicked(self):
        pass


@assert_no_leaks
def test_widget():
    Widget()


test_widget()
