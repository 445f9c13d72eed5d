"""Documents parsed, good and bad ones."""

from xml.dom import minidom
from xml.etree import ElementTree

TEXT = "<tap>" + "<drop level='1'>x</drop>" * 15 + "</tap>"


def work():
    ElementTree.tostring(ElementTree.fromstring(TEXT))
    minidom.parseString(TEXT).unlink()
    try:
        ElementTree.fromstring("<tap>")
    except ElementTree.ParseError:
        pass
