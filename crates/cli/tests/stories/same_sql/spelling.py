"""How Libra spells values, said a second time and independently of it.

JSON: whole numbers beyond 2^53, decimals, NaN and infinities are texts; times are ISO 8601 without trailing zeros, in UTC;
bytes are base64; an interval is what Spark's own CAST to a text gives; a VARIANT is the JSON that it stands for; a map is
an object, its keys other than texts are their JSON in a text. Names of columns and fields that are there twice
become `a`, `a_2`. Arrow: Spark's own types, except that intervals, variants and spatial values are the text of their
JSON, because not every reader of Arrow knows them.
"""

import base64
import datetime
import decimal
import struct

import numpy
import pyarrow as pa
from pyspark.sql import types as T
from pyspark.sql.types import VariantVal

#: From here on whole numbers are texts.
EXACT = 2**53


#: So many digits behind a point survive a double.
EXACT_DIGITS = 10**15 - 1
#: Types that are texts in Arrow, besides intervals.
TEXTS = (T.VariantType, T.GeometryType, T.GeographyType)


class Literal(str):
    """A number with a point or an exponent, as it is spelled in JSON."""


class Float32(float):
    """A double that was a float."""


def distinct(names):
    """The names as they are in the rows: one seen before gets the first number that is free."""
    done = []
    for name in names:
        unique, number = name, 2
        while unique in done or (unique != name and unique in names):
            unique, number = f"{name}_{number}", number + 1
        done.append(unique)
    return done


def renamed(kind):
    """A type in Spark's JSON, with the names of its fields as they are in the rows."""
    if not isinstance(kind, dict):
        return kind
    kind = {key: renamed(value) for key, value in kind.items()}
    if kind.get("type") == "struct":
        names = distinct([field["name"] for field in kind["fields"]])
        kind["fields"] = [{**field, "name": name, "type": renamed(field["type"])}
                          for field, name in zip(kind["fields"], names)]
    return kind


def in_arrow(kind):
    """Spark's type for what Libra has in Arrow: texts for what Arrow has no type for."""
    return _loosened(mapped(kind, lambda leaf: T.StringType() if isinstance(leaf, TEXTS) else leaf), kind)


def _loosened(texts, kind):
    """The rows are kept as JSON, in which a variant's null is NULL: that may be wherever there are variants."""
    def may_be_null(flag, inner):
        return flag or isinstance(inner, T.VariantType)

    if isinstance(kind, T.StructType):
        return T.StructType([
            T.StructField(t.name, _loosened(t.dataType, k.dataType), may_be_null(k.nullable, k.dataType))
            for t, k in zip(texts, kind)
        ])
    if isinstance(kind, T.ArrayType):
        element = _loosened(texts.elementType, kind.elementType)
        return T.ArrayType(element, may_be_null(kind.containsNull, kind.elementType))
    if isinstance(kind, T.MapType):
        keys, values = _loosened(texts.keyType, kind.keyType), _loosened(texts.valueType, kind.valueType)
        return T.MapType(keys, values, may_be_null(kind.valueContainsNull, kind.valueType))
    return texts


def mapped(kind, leaf):
    """The type with `leaf` applied to what is not nested."""
    if isinstance(kind, T.StructType):
        fields = zip(kind.fields, distinct(kind.names))
        return T.StructType([T.StructField(n, mapped(f.dataType, leaf), f.nullable) for f, n in fields])
    if isinstance(kind, T.ArrayType):
        return T.ArrayType(mapped(kind.elementType, leaf), kind.containsNull)
    if isinstance(kind, T.MapType):
        return T.MapType(mapped(kind.keyType, leaf), mapped(kind.valueType, leaf), kind.valueContainsNull)
    return leaf(kind)


def as_json(value, kind):
    """What Libra's JSON has for a value that PySpark collected."""
    if value is None:
        return None
    if isinstance(kind, T.StructType):
        fields = zip(distinct(kind.names), value, kind.fields)
        return tuple((name, as_json(inner, field.dataType)) for name, inner, field in fields)
    if isinstance(kind, T.ArrayType):
        return [as_json(inner, kind.elementType) for inner in value]
    if isinstance(kind, T.MapType):
        return tuple((_key(as_json(k, kind.keyType)), as_json(v, kind.valueType)) for k, v in value.items())
    if isinstance(kind, T.FloatType):
        return as_json(Float32(value), None)
    if isinstance(kind, (T.TimestampType, T.TimestampNTZType)):
        return _iso(value) + ("Z" if isinstance(kind, T.TimestampType) else "")
    if isinstance(value, VariantVal):
        return _variant(value.toPython())
    if isinstance(value, (T.Geometry, T.Geography)):
        return (("srid", value.getSrid()), ("wkb", _base64(value.getBytes())))
    return _scalar(value)


def _scalar(value):
    match value:
        case bool():
            return value
        case int():
            return value if abs(value) <= EXACT else str(value)
        case float() if value != value:
            return "NaN"
        case float() if value in (float("inf"), float("-inf")):
            return "Infinity" if value > 0 else "-Infinity"
        case decimal.Decimal():
            return format(value, "f")
        case bytes() | bytearray():
            return _base64(value)
        case datetime.datetime() | datetime.date() | datetime.time():
            return _iso(value)
        case float() | str():
            return value
        case _:
            raise TypeError(f"{type(value)} has no spelling")


def _variant(value):
    """JSON of a VARIANT: a decimal is a number as long as a double holds all its digits."""
    match value:
        case None:
            return None
        case dict():
            return tuple((name, _variant(inner)) for name, inner in value.items())
        case list():
            return [_variant(inner) for inner in value]
        case decimal.Decimal():
            scale = -value.as_tuple().exponent
            digits = abs(int(value.scaleb(scale)))
            return value if digits <= (EXACT_DIGITS if scale else EXACT) else format(value, "f")
        case datetime.datetime() if value.tzinfo is not None:
            return _iso(value.astimezone(datetime.UTC).replace(tzinfo=None)) + "Z"
        case _:
            return _scalar(value)


def _iso(value):
    """ISO 8601; a text is one of Spark's own, of a time that Python can't hold."""
    text = value.replace(" ", "T") if isinstance(value, str) else value.isoformat()
    return text.rstrip("0").rstrip(".") if "." in text else text


def _base64(value):
    return base64.b64encode(value).decode()


def _key(value):
    return value if isinstance(value, str) else text(value)


def text(value):
    """JSON as a text."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case tuple():
            return "{" + ",".join(f"{_quoted(name)}:{text(inner)}" for name, inner in value) + "}"
        case list():
            return "[" + ",".join(text(inner) for inner in value) + "]"
        case decimal.Decimal():
            return repr(float(value) if value.as_tuple().exponent else int(value))
        case Float32():
            return str(numpy.float32(value))
        case int() | float():
            return repr(value)
        case _:
            return _quoted(value)


def _quoted(value):
    out = ""
    for c in value:
        out += {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(c) or (
            c if c >= " " else f"\\u{ord(c):04x}")
    return f'"{out}"'


def same(expected, found):
    """Whether a value of Libra's JSON is the expected one: of the same type, to the last bit."""
    match expected:
        case tuple() | list():
            return (type(found) is type(expected) and len(found) == len(expected)
                    and all(same(e, f) for e, f in zip(expected, found)))
        case Float32():
            return isinstance(found, Literal) and bits(float(str(numpy.float32(expected)))) == bits(float(found))
        case float():
            return isinstance(found, Literal) and bits(expected) == bits(float(found))
        case decimal.Decimal():
            # A number of JSON has a value, and no digits behind it.
            return isinstance(found, (int, Literal)) and decimal.Decimal(found) == expected
        case _:
            return type(found) is type(expected) and found == expected


def bits(number):
    """A double's bits: 0.0 and -0.0 differ, NaN is equal to itself."""
    return struct.pack("<d", number)


def stored(array, kind=None):
    """An Arrow array as it is stored: floats by their bits, times as numbers, maps as pairs in their order.

    With `kind`, Spark's type, variants and spatial values become the text that Libra has for them.
    """
    if isinstance(array, pa.ChunkedArray):
        return [value for chunk in array.chunks for value in stored(chunk, kind)]
    present = array.is_valid().to_pylist()
    if isinstance(kind, TEXTS):
        values = [_spelled(value, kind) for value in array.to_pylist()]
    elif pa.types.is_struct(array.type):
        kinds = kind.fields if kind else [None] * array.type.num_fields
        columns = [stored(array.field(i), getattr(k, "dataType", None)) for i, k in enumerate(kinds)]
        values = list(zip(*columns)) if columns else [()] * len(array)
    elif pa.types.is_map(array.type):
        keys = stored(array.keys, kind and kind.keyType)
        pairs = list(zip(keys, stored(array.items, kind and kind.valueType)))
        values = _cut(array.offsets.to_pylist(), pairs)
    elif pa.types.is_list(array.type):
        values = _cut(array.offsets.to_pylist(), stored(array.values, kind and kind.elementType))
    elif pa.types.is_floating(array.type):
        values = array.view(pa.int32() if array.type == pa.float32() else pa.int64()).to_pylist()
    elif pa.types.is_temporal(array.type):
        values = array.view(pa.int32() if array.type.bit_width == 32 else pa.int64()).to_pylist()
    else:
        values = array.to_pylist()
    return [value if there else None for value, there in zip(values, present)]


def _cut(offsets, values):
    return [values[begin:end] for begin, end in zip(offsets, offsets[1:])]


def _spelled(value, kind):
    if value is None:
        return None
    if isinstance(kind, T.VariantType):
        value = as_json(VariantVal(value["value"], value["metadata"]), kind)
        return value if value is None or isinstance(value, str) else text(value)
    return text((("srid", value["srid"]), ("wkb", _base64(value["wkb"]))))
