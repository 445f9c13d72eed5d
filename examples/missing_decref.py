"""What a C extension does that forgets a Py_DECREF: references that no container accounts for."""

import ctypes

from refleak import assert_no_leaks

take_reference = ctypes.pythonapi.Py_IncRef
take_reference.argtypes = [ctypes.py_object]
take_reference.restype = None


class Texture:
    pass


@assert_no_leaks
def test_draw():
    texture = Texture()
    take_reference(texture)


test_draw()
