"""A scorer that raises."""

from rapidfuzz import process


def refuse(one, other, **options):
    raise ValueError(one)


def work():
    try:
        process.extractOne("drip", ["drop", "drap"], scorer=refuse)
    except ValueError:
        pass
