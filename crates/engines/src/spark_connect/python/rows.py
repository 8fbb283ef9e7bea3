"""Writes a DataFrame of Spark Connect as the result of a job, as libra_result does for a DataFrame of Spark itself."""

import json

import libra_result
from pyspark.sql.connect import functions as F
from pyspark.sql.types import _parse_datatype_json_value as data_type


def write(df, directory, limit):
    """Writes the rows of `df` to `directory`, at most `limit` bytes of them."""
    given = json.loads(df.schema.json())
    schema = libra_result.distinct(given)
    plain = projected(df, given, schema)
    libra_result.write_rows(schema, lambda _: plain.toLocalIterator(), directory, limit)


def projected(df, given, schema):
    """The rows with values that Python can hold, and with names that are there once."""
    if schema == given and all(libra_result.is_plain(field["type"]) for field in schema["fields"]):
        return df
    df = df.toDF(*(f"c{i}" for i in range(len(schema["fields"]))))
    casts, plains = [], []
    for i, field in enumerate(given["fields"]):
        column, kind = F.col(f"c{i}"), field["type"]
        if isinstance(kind, dict) and kind["type"] != "udt":
            # Only the names differ, so nothing can fail; but a strict cast refuses variants even to themselves.
            column = column.try_cast(data_type(libra_result.numbered(kind))).alias(f"c{i}")
        casts.append(column)
        plains.append(F.expr(libra_result.plain(kind, f"c{i}")).alias(f"c{i}"))
    return df.select(*casts).select(*plains)
