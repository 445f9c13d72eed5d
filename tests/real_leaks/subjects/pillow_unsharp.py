"""A filter that refuses the image's mode."""

from PIL import Image, ImageFilter

PICTURE = Image.new("I", (20, 10))


def work():
    try:
        PICTURE.filter(ImageFilter.UnsharpMask())
    except ValueError:
        pass
