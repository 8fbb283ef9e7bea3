"""Writes a DataFrame as the result of a job: rows.jsonl, then result.json.

A row is one JSON object a line. Whole numbers beyond 2^53 and decimals are strings, timestamps are RFC 3339 in
UTC, binary is base64, NaN and the infinities are strings, maps and structs are objects.

What Python can't hold (years beyond 9999, intervals, variants) is turned into numbers and texts by Spark itself,
before it is collected.
"""

import base64
import datetime
import json
import math
import os
import re

ROWS = "rows.jsonl"
META = "result.json"
# Plans that can't give more rows than this are collected at once, which lets Spark stop early at a LIMIT.
FEW_ROWS = 10_000
# How much a group of partitions that is fetched together should hold, in bytes of JSON.
GROUP_BYTES = 32 * 1024 * 1024
SAFE_INTEGER = 2**53
EPOCH = datetime.datetime(1970, 1, 1)
# The Gregorian calendar repeats itself after this many days and years.
ERA_DAYS, ERA_YEARS = 146_097, 400

SPARK_SQL = {
    "date": "unix_date({})",
    "timestamp": "unix_micros({})",
    "timestamp_ntz": "cast({} as string)",
    "variant": "to_json({})",
    # A float widened to a double prints digits that nobody wrote.
    "float": "cast(cast({} as string) as double)",
    "time": "cast({} as string)",
    "interval": "cast({} as string)",
    "geometry": "st_asbinary({})",
    "geography": "st_asbinary({})",
}


def write(df, directory, limit):
    """Writes the rows of `df` to `directory`, at most `limit` bytes of them."""
    schema = distinct(json.loads(df._jdf.schema().json()))
    write_rows(schema, lambda size: rows(projected(df, schema["fields"]), size), directory, limit)


def write_rows(schema, read, directory, limit):
    """Writes rows whose values are plain already; `read` gives them, told how many bytes they have made so far."""
    fields = schema["fields"]
    columns = [(field["name"], encoder(field["type"])) for field in fields]
    meta = os.path.join(directory, META)
    if os.path.exists(meta):
        os.remove(meta)
    count, size, truncated = 0, 0, False
    with open(os.path.join(directory, ROWS), "wb", opener=private) as file:
        for row in read(lambda: size):
            line = to_json({name: encode(value) for (name, encode), value in zip(columns, row)})
            line = line.encode("utf-8", "replace") + b"\n"
            if size + len(line) > limit:
                truncated = True
                break
            file.write(line)
            size += len(line)
            count += 1
        file.flush()
        os.fsync(file.fileno())
    write_whole(meta, to_json({"schema": schema, "rows": count, "truncated": truncated}))


def to_json(value):
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def private(path, flags):
    return os.open(path, flags, 0o600)


def write_whole(path, text):
    """Writes a file so that it is there whole or not at all."""
    draft = f"{path}.{os.getpid()}.draft"
    with open(draft, "wb", opener=private) as file:
        file.write(text.encode("utf-8", "replace"))
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def distinct(kind):
    """The type with every repeated field name made unique: a, a_2, a_3."""
    if not isinstance(kind, dict):
        return kind
    if kind["type"] == "struct":
        given = {field["name"] for field in kind["fields"]}
        taken, fields = set(), []
        for field in kind["fields"]:
            name, number = field["name"], 2
            while name in taken:
                name = f"{field['name']}_{number}"
                number += 1
                if name in given:
                    name = field["name"]
            taken.add(name)
            fields.append({**field, "name": name, "type": distinct(field["type"])})
        return {**kind, "fields": fields}
    inner = ("elementType", "keyType", "valueType")
    return {key: distinct(value) if key in inner else value for key, value in kind.items()}


# What Spark turns into plain values before the rows are collected.


def family(kind):
    """`time` for `time(6)`, `interval` for `interval day to second`."""
    return re.match(r"[a-z_]*", kind).group() if isinstance(kind, str) else kind["type"]


def is_plain(kind):
    name = family(kind)
    if name == "struct":
        return all(is_plain(field["type"]) for field in kind["fields"])
    if name == "array":
        return is_plain(kind["elementType"])
    if name == "map":
        # Keys that are structs would be lists in Python, which can't be keys.
        return isinstance(kind["keyType"], str) and is_plain(kind["keyType"]) and is_plain(kind["valueType"])
    return name not in SPARK_SQL


def numbered(kind):
    """The type with its struct fields named f0, f1 …: any name can be addressed then."""
    if not isinstance(kind, dict):
        return kind
    if kind["type"] == "struct":
        fields = [
            {**field, "name": f"f{i}", "type": numbered(field["type"])} for i, field in enumerate(kind["fields"])
        ]
        return {**kind, "fields": fields}
    inner = ("elementType", "keyType", "valueType")
    return {key: numbered(value) if key in inner else value for key, value in kind.items()}


def plain(kind, sql, depth=0):
    """The SQL expression that makes a value of `kind` plain; maps become arrays of entries."""
    if is_plain(kind):
        return sql
    name = family(kind)
    item = f"x{depth}"
    if name == "struct":
        parts = (
            f"'f{i}', {plain(field['type'], f'{sql}.f{i}', depth)}" for i, field in enumerate(kind["fields"])
        )
        return f"if({sql} is null, null, named_struct({', '.join(parts)}))"
    if name == "array":
        return f"transform({sql}, {item} -> {plain(kind['elementType'], item, depth + 1)})"
    if name == "map":
        key = plain(kind["keyType"], f"{item}.key", depth + 1)
        value = plain(kind["valueType"], f"{item}.value", depth + 1)
        return f"transform(map_entries({sql}), {item} -> named_struct('k', {key}, 'v', {value}))"
    return SPARK_SQL[name].format(sql)


def projected(df, fields):
    from pyspark.sql import Column
    from pyspark.sql import functions as F

    if all(is_plain(field["type"]) for field in fields):
        return df
    jvm = df.sparkSession._jvm
    df = df.toDF(*(f"c{i}" for i in range(len(fields))))
    casts, plains = [], []
    for i, field in enumerate(fields):
        column, kind = F.col(f"c{i}"), field["type"]
        if isinstance(kind, dict) and not is_plain(kind):
            java = jvm.org.apache.spark.sql.types.DataType.fromJson(json.dumps(numbered(kind)))
            # Only the names differ, so nothing can fail; but a strict cast refuses variants even to themselves.
            cast = getattr(column._jc, "try_cast" if hasattr(Column, "try_cast") else "cast")
            column = Column(cast(java)).alias(f"c{i}")
        casts.append(column)
        plains.append(F.expr(plain(kind, f"c{i}")).alias(f"c{i}"))
    return df.select(*casts).select(*plains)


def rows(df, size):
    """The rows in order, without holding them all in memory; `size()` is how many bytes they have made so far."""
    most = df._jdf.queryExecution().optimizedPlan().maxRows()
    if most.isDefined() and most.get() <= FEW_ROWS:
        yield from df.collect()
        return
    rdd = df.rdd
    total = rdd.getNumPartitions()
    done, width = 0, 1
    while done < total:
        group = list(range(done, min(done + width, total)))
        yield from fetch(rdd, group)
        done += len(group)
        # Wider groups use more cores; how wide they may be is learnt from what the partitions held so far.
        per_partition = max(1, size() // done)
        width = max(1, min(width * 4, 4 * rdd.context.defaultParallelism, GROUP_BYTES // per_partition))


def fetch(rdd, partitions):
    """The rows of some partitions, computed at the same time and without a Python worker."""
    from pyspark.util import _load_from_socket

    context = rdd.context
    address = context._jvm.PythonRDD.runJob(context._jsc.sc(), rdd._jrdd, partitions)
    stream = _load_from_socket(address, rdd._jrdd_deserializer)
    if hasattr(stream, "__enter__"):
        with stream as opened:
            yield from opened
    else:
        yield from stream


# What is collected, as JSON.


def encoder(kind):
    """The function that turns a plain value of `kind` into what JSON can hold."""
    encode = {
        "struct": struct,
        "array": array,
        "map": mapping,
        "udt": lambda _: str,
    }.get(family(kind))
    encode = encode(kind) if encode else SCALARS.get(family(kind), lambda value: value)
    return lambda value: None if value is None else encode(value)


def struct(kind):
    fields = [(field["name"], encoder(field["type"])) for field in kind["fields"]]
    return lambda value: {name: encode(part) for (name, encode), part in zip(fields, value)}


def array(kind):
    encode = encoder(kind["elementType"])
    return lambda value: [encode(item) for item in value]


def mapping(kind):
    key, item = encoder(kind["keyType"]), encoder(kind["valueType"])
    entries = dict.items if is_plain(kind) else iter
    return lambda value: {key_text(key(k)): item(v) for k, v in entries(value)}


def key_text(key):
    return key if isinstance(key, str) else to_json(key)


def whole(value):
    return value if -SAFE_INTEGER <= value <= SAFE_INTEGER else str(value)


def fraction(value):
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def decimal(value):
    return format(value, "f")


def binary(value):
    return base64.b64encode(bytes(value)).decode("ascii")


def in_calendar(days, micros):
    """Date and time of day as RFC 3339 writes them, for any year."""
    eras = 0
    if not -719_162 <= days <= 2_932_896:
        eras, days = divmod(days, ERA_DAYS)
    moment = EPOCH + datetime.timedelta(days=days, microseconds=micros)
    year = moment.year + eras * ERA_YEARS
    date = f"{year:04}" if 0 <= year <= 9999 else f"{year:+05}"
    return date, moment


def date(value):
    year, moment = in_calendar(value, 0)
    return f"{year}-{moment.month:02}-{moment.day:02}"


def timestamp(value):
    year, moment = in_calendar(*divmod(value, 86_400_000_000))
    time = moment.time().isoformat()
    if moment.microsecond:
        time = time.rstrip("0")
    return f"{year}-{moment.month:02}-{moment.day:02}T{time}Z"


def timestamp_ntz(value):
    return value.replace(" ", "T", 1)


def variant(value):
    return in_variant(json.loads(value, parse_float=number))


def number(text):
    """Spark writes a decimal without an exponent; as a float a long one would lose digits."""
    is_float = "e" in text.lower()
    return float(text) if is_float or abs(int(text.replace(".", ""))) <= SAFE_INTEGER else text


def in_variant(value):
    if isinstance(value, dict):
        return {key: in_variant(item) for key, item in value.items()}
    if isinstance(value, list):
        return [in_variant(item) for item in value]
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return whole(value)
    return fraction(value) if isinstance(value, float) else value


SCALARS = {
    "long": whole,
    "float": fraction,
    "double": fraction,
    "decimal": decimal,
    "binary": binary,
    "date": date,
    "timestamp": timestamp,
    "timestamp_ntz": timestamp_ntz,
    "variant": variant,
    "geometry": binary,
    "geography": binary,
}
