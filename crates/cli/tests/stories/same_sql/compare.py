"""Runs lists of SQL statements through Libra and through PySpark, on the server that Libra started, and compares.

Each side has a session of its own and gets all statements in order; the second begins when the first has ended, so that
databases and tables have the same names. What differs is printed with statement, row, column and both values.
"""

import argparse
import sys
import time

from libra_side import Libra
from lists import read
from pyspark_side import PySpark
from spelling import same

#: Differences of one statement that are printed.
SHOWN = 5


def differences(statement, libra, pyspark):
    """What differs, a line each."""
    if libra.error is not None or pyspark.error is not None:
        if statement.masked(libra.error) != statement.masked(pyspark.error):
            yield f"the error is\n  {libra.error!r} in Libra\n  {pyspark.error!r} in PySpark"
        return
    if statement.masked(repr(libra.schema)) != statement.masked(repr(pyspark.schema)) and libra.schema != pyspark.schema:
        yield f"the schema is\n  {libra.schema} in Libra\n  {pyspark.schema} in PySpark"
    if statement.json and len(libra.rows) != len(pyspark.rows):
        yield f"{len(libra.rows)} rows in Libra, {len(pyspark.rows)} in PySpark"
    for number, (found, expected) in enumerate(zip(libra.rows, pyspark.rows), 1):
        if [name for name, _ in found] != [name for name, _ in expected]:
            yield f"row {number} has the columns {dict(found).keys()} in Libra, {dict(expected).keys()} in PySpark"
        for (name, value), (_, wanted) in zip(found, expected):
            if not same(statement.masked(wanted), statement.masked(value)):
                yield f"row {number}, column `{name}`, JSON: {value!r} in Libra, {wanted!r} in PySpark"
    if not pyspark.arrow:
        return
    if libra.arrow_fields != pyspark.arrow_fields:
        yield f"the Arrow columns are\n  {libra.arrow_fields} in Libra\n  {pyspark.arrow_fields} in PySpark"
    if [len(column) for column in libra.arrow_columns] != [len(column) for column in pyspark.arrow_columns]:
        yield "the Arrow columns have other numbers of rows"
    for (name, *_), found, expected in zip(libra.arrow_fields, libra.arrow_columns, pyspark.arrow_columns):
        for number, (value, wanted) in enumerate(zip(found, expected), 1):
            if statement.masked(value) != statement.masked(wanted):
                yield f"row {number}, column `{name}`, Arrow: {value!r} in Libra, {wanted!r} in PySpark"


def has_columns(outcome):
    """False for a command without an answer, and for an error."""
    return bool(outcome.schema and outcome.schema["fields"])


def has_values(outcome):
    """Whether some row has something other than NULL."""
    return any(value is not None for row in outcome.rows for _, value in row)


def outcomes(side, statements, run, show):
    """What one side makes of all statements, in order."""
    done = []
    for statement in statements:
        done.append(run(statement))
        if show:
            print(f"{side}: {statement.title}: {done[-1].seconds:.2f} s", flush=True)
    return done


def main():
    """Compares what the command line names."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--libra", required=True, help="the address of Libra")
    arguments.add_argument("--prepare", nargs="*", default=[], help="lists that only Libra gets, before the others")
    arguments.add_argument("--lists", nargs="+", required=True, help="lists that both sides get")
    arguments.add_argument("--twisted", nargs="*", default=[], help="lists of which each statement has to differ")
    arguments.add_argument("--short", action="store_true", help="without what is only in the drill")
    arguments.add_argument("--rows", action="store_true", help="each statement has to give a row")
    arguments.add_argument("--name", action="append", default=[], help="NAME=VALUE for {NAME} in the lists")
    given = arguments.parse_args()
    names = dict(name.split("=", 1) for name in given.name)
    libra, pyspark = Libra(given.libra), PySpark(given.short)

    for statement in read(given.prepare, names):
        outcome = libra.run(statement.for_libra())
        if outcome.error:
            raise SystemExit(f"{statement.title}: {outcome.error}")
        print(f"{statement.title}: {outcome.seconds:.1f} s", flush=True)

    statements, twisted = read(given.lists, names, given.short), read(given.twisted, names, given.short)
    every = statements + twisted
    began = time.monotonic()
    by_libra = outcomes("Libra", every, lambda s: libra.run(s.for_libra()), given.rows)
    between = time.monotonic()
    by_pyspark = outcomes("PySpark", every, lambda s: pyspark.run(s.for_pyspark(), s.json, s.arrow), given.rows)
    ended = time.monotonic()

    wrong = 0
    for number, (statement, one, other) in enumerate(zip(every, by_libra, by_pyspark)):
        found = list(differences(statement, one, other))
        if number >= len(statements):
            wrong += not found
            if not found:
                print(f"{statement.title}: the comparison does not see the difference")
            continue
        if given.rows and has_columns(one) and not (has_values(one) and has_values(other)):
            found.append("it gives no row with a value")
        if statement.fails != (one.error is not None):
            found.append(f"it ends with {one.error or 'rows'!r}")
        wrong += bool(found)
        for line in found[:SHOWN]:
            print(f"{statement.title}: {line}")
        if len(found) > SHOWN:
            print(f"{statement.title}: … and {len(found) - SHOWN} differences more")
        if given.rows and has_columns(one):
            print(f"{statement.title}: {len(one.rows)} rows, Libra {one.seconds:.2f} s, PySpark {other.seconds:.2f} s")
    errors = sum(one.error is not None for one in by_libra[: len(statements)])
    took = [sum(outcome.seconds for outcome in side[: len(statements)]) for side in (by_libra, by_pyspark)]
    print(
        f"{len(statements)} statements, {errors} of them errors, {wrong} differ; until the rows were there: "
        f"Libra {took[0]:.1f} s, PySpark {took[1]:.1f} s; in all {between - began:.1f} and {ended - between:.1f} s"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
