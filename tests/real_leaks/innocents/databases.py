"""A database in memory."""

import sqlite3


def work():
    database = sqlite3.connect(":memory:")
    database.execute("create table drops (level)")
    database.executemany("insert into drops values (?)", [(n,) for n in range(10)])
    database.execute("select max(level) from drops").fetchone()
    database.close()
