"""The same statement in PySpark itself, and what Libra has to give for it."""

import json
import os
import time

from pyspark.errors import PySparkException
from pyspark.sql import types as T
from pyspark.sql.connect import functions as F
from pyspark.sql.connect.session import SparkSession
from pyspark.sql.pandas.types import to_arrow_schema

from outcome import Outcome
from spelling import as_json, in_arrow, mapped, renamed, stored

#: Behind it a message of PySpark's shows where in the Java machine it comes from.
STACK = "\n\nJVM stacktrace:"
INTERVALS = (T.AnsiIntervalType, T.CalendarIntervalType)
CLOCKS = (T.DateType, T.TimestampType, T.TimestampNTZType)


class PySpark:
    """A client of the server that Libra started, with one session."""

    def __init__(self, short=False):
        self.spark = SparkSession.builder.remote(os.environ["SPARK_REMOTE"]).create()
        self.short = short
        #: Types that were fetched as Arrow.
        self.seen = set()

    def run(self, text, rows=True, arrow=True):
        """Runs a statement and fetches what it gives as Python's rows, as Arrow, or twice.

        In a short run Arrow is left out where there is no column of a type that was not compared before.
        """
        began = time.monotonic()
        try:
            return self._result(self.spark.sql(text), began, rows, arrow)
        except Exception as error:
            return Outcome(error=_told(error), seconds=time.monotonic() - began)

    def _result(self, df, began, rows, arrow):
        given = df.schema
        plain = _plain(df, given, INTERVALS)
        try:
            collected = plain.collect() if rows else []
        except (OverflowError, ValueError):
            # Years that Python does not know: Spark itself writes them down.
            collected = _plain(df, given, INTERVALS + CLOCKS).collect()
        seconds = time.monotonic() - began
        outcome = Outcome(
            schema=renamed(json.loads(given.json())),
            rows=[as_json(row, given) for row in collected],
            seconds=seconds,
        )
        kinds = {(field.dataType.json(), field.nullable) for field in given.fields}
        if arrow and not (self.short and kinds <= self.seen):
            self.seen |= kinds
            # Commands did their work when they were sent; what is left of one is its rows.
            table = plain.toArrow()
            types = to_arrow_schema(in_arrow(plain.schema), timezone="UTC")
            outcome.arrow = True
            outcome.arrow_fields = [(field.name, field.type, field.nullable) for field in types]
            outcome.arrow_columns = [
                stored(column, field.dataType) for column, field in zip(table.columns, plain.schema.fields)
            ]
        return outcome


def _told(error):
    """Spark's text of an error; what PySpark itself can't do is an error that Libra can't have."""
    condition = error.getCondition() if isinstance(error, PySparkException) else None
    told = str(error).split(STACK)[0].strip()
    if condition is None or not told.startswith((f"[{condition}]", f"[{condition}.")):
        return f"PySpark itself fails with {type(error).__name__}: {told}"
    return told


def _plain(df, given, texts):
    """The rows with names that are there once, and with values of the types in `texts` as Spark writes them."""
    wanted = mapped(given, lambda kind: T.StringType() if isinstance(kind, texts) else kind)
    if wanted.names != given.names:
        df = df.toDF(*wanted.names)
    if all(w.dataType == g.dataType for w, g in zip(wanted, given)):
        return df
    columns = []
    for w, g in zip(wanted, given):
        column = F.col(f"`{w.name.replace('`', '``')}`")
        columns.append(column if w.dataType == g.dataType else column.cast(w.dataType).alias(w.name))
    return df.select(*columns)
