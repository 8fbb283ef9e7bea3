//! Writes the values of one Arrow column as JSON, by their Spark type.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, DurationMicrosecondType, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalYearMonthType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow_array::{Array, ArrayRef, GenericStringArray, ListArray, MapArray, PrimitiveArray, StructArray};
use arrow_array::{BooleanArray, GenericBinaryArray};

use super::proto_types::{DataType, Interval, Kind, Struct};
use super::rows::{Unreadable, keys, object, struct_columns};
use super::{clock, interval, json, variant};

const MICROS_PER_SECOND: i64 = 1_000_000;
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// A column, ready to write its values.
pub(super) struct Encoder<'a> {
    array: &'a dyn Array,
    values: Values<'a>,
}

type Primitive<'a, T> = &'a PrimitiveArray<T>;

/// The column's values by how they are written.
enum Values<'a> {
    Null,
    Boolean(&'a BooleanArray),
    Byte(Primitive<'a, Int8Type>),
    Short(Primitive<'a, Int16Type>),
    Integer(Primitive<'a, Int32Type>),
    Long(Primitive<'a, Int64Type>),
    Float(Primitive<'a, Float32Type>),
    Double(Primitive<'a, Float64Type>),
    Decimal(Primitive<'a, Decimal128Type>, u32),
    Text(&'a GenericStringArray<i32>),
    LargeText(&'a GenericStringArray<i64>),
    Binary(Binary<'a>),
    Date(Primitive<'a, Date32Type>),
    Micros(Primitive<'a, TimestampMicrosecondType>, bool),
    Nanos(Primitive<'a, TimestampNanosecondType>, bool),
    Time(Primitive<'a, Time64NanosecondType>),
    YearMonth(Primitive<'a, IntervalYearMonthType>, Interval),
    DayTime(Primitive<'a, DurationMicrosecondType>, Interval),
    Calendar(Primitive<'a, IntervalMonthDayNanoType>),
    List(&'a ListArray, Box<Encoder<'a>>),
    Map(&'a MapArray, Box<Encoder<'a>>, Box<Encoder<'a>>),
    Struct(Vec<Vec<u8>>, Vec<Encoder<'a>>),
    Variant { value: Binary<'a>, metadata: Binary<'a> },
    Spatial { srid: Primitive<'a, Int32Type>, wkb: Binary<'a> },
    NanosPair { micros: Primitive<'a, Int64Type>, nanos: Primitive<'a, Int16Type>, utc: bool },
}

/// Bytes, with offsets of 32 or 64 bits (`spark.sql.execution.arrow.useLargeVarTypes`).
enum Binary<'a> {
    Small(&'a GenericBinaryArray<i32>),
    Large(&'a GenericBinaryArray<i64>),
}

impl<'a> Binary<'a> {
    fn of(array: &'a dyn Array) -> Option<Self> {
        array.as_binary_opt().map(Self::Small).or_else(|| array.as_binary_opt().map(Self::Large))
    }

    fn value(&self, row: usize) -> &'a [u8] {
        match self {
            Self::Small(array) => array.value(row),
            Self::Large(array) => array.value(row),
        }
    }
}

/// The encoders of a struct's fields.
pub(super) fn fields<'a>(schema: &Struct, columns: &'a [ArrayRef]) -> Result<Vec<Encoder<'a>>, Unreadable> {
    if schema.fields.len() != columns.len() {
        return Err(Unreadable::Width { found: columns.len(), expected: schema.fields.len() });
    }
    schema
        .fields
        .iter()
        .zip(columns)
        .map(|(f, array)| Encoder::new(&f.name, f.data_type.as_ref(), array))
        .collect()
}

fn primitive<T: ArrowPrimitiveType>(array: &dyn Array) -> Option<&PrimitiveArray<T>> {
    array.as_primitive_opt::<T>()
}

/// The children of a struct by name; Spark fixes these names for the types it sends as structs.
fn child<'a>(array: &'a dyn Array, name: &str) -> Option<&'a ArrayRef> {
    array.as_struct_opt()?.column_by_name(name)
}

impl<'a> Encoder<'a> {
    fn new(name: &str, data_type: Option<&DataType>, array: &'a dyn Array) -> Result<Self, Unreadable> {
        let kind = data_type.and_then(|t| t.kind.as_ref());
        let values = Self::scalar(kind, array);
        let values = match values {
            Some(values) => Some(values),
            None => Self::nested(name, kind, array)?,
        };
        let values = values.ok_or_else(|| Unreadable::Column {
            column: name.to_owned(),
            arrow: array.data_type().to_string(),
        })?;
        Ok(Self { array, values })
    }

    fn scalar(kind: Option<&Kind>, array: &'a dyn Array) -> Option<Values<'a>> {
        // A type that this protocol subset does not know must not pass for nulls.
        let Some(kind) = kind else {
            return matches!(array.data_type(), arrow_schema::DataType::Null).then_some(Values::Null);
        };
        match kind {
            Kind::Null(_) => Some(Values::Null),
            Kind::Boolean(_) => array.as_boolean_opt().map(Values::Boolean),
            Kind::Byte(_) => primitive(array).map(Values::Byte),
            Kind::Short(_) => primitive(array).map(Values::Short),
            Kind::Integer(_) => primitive(array).map(Values::Integer),
            Kind::Long(_) => primitive(array).map(Values::Long),
            Kind::Float(_) => primitive(array).map(Values::Float),
            Kind::Double(_) => primitive(array).map(Values::Double),
            Kind::Decimal(d) => {
                let scale = u32::try_from(d.scale.unwrap_or(0)).ok()?;
                primitive(array).map(|a| Values::Decimal(a, scale))
            }
            Kind::String(_) | Kind::Char(_) | Kind::VarChar(_) => array
                .as_string_opt()
                .map(Values::Text)
                .or_else(|| array.as_string_opt().map(Values::LargeText)),
            Kind::Binary(_) => Binary::of(array).map(Values::Binary),
            Kind::Date(_) => primitive(array).map(Values::Date),
            Kind::Timestamp(_) | Kind::TimestampLtzNanos(_) => Self::timestamp(array, true),
            Kind::TimestampNtz(_) | Kind::TimestampNtzNanos(_) => Self::timestamp(array, false),
            Kind::Time(_) => primitive(array).map(Values::Time),
            Kind::YearMonthInterval(i) => primitive(array).map(|a| Values::YearMonth(a, *i)),
            Kind::DayTimeInterval(i) => primitive(array).map(|a| Values::DayTime(a, *i)),
            Kind::CalendarInterval(_) => primitive(array).map(Values::Calendar),
            Kind::Variant(_) => Some(Values::Variant {
                value: Binary::of(child(array, "value")?)?,
                metadata: Binary::of(child(array, "metadata")?)?,
            }),
            Kind::Geometry(_) | Kind::Geography(_) => Some(Values::Spatial {
                srid: primitive(child(array, "srid")?)?,
                wkb: Binary::of(child(array, "wkb")?)?,
            }),
            Kind::Array(_) | Kind::Struct(_) | Kind::Map(_) | Kind::Udt(_) | Kind::Unparsed(_) => None,
        }
    }

    fn timestamp(array: &'a dyn Array, utc: bool) -> Option<Values<'a>> {
        if let Some(array) = primitive(array) {
            return Some(Values::Micros(array, utc));
        }
        if let Some(array) = primitive(array) {
            return Some(Values::Nanos(array, utc));
        }
        Some(Values::NanosPair {
            micros: primitive(child(array, "epochMicros")?)?,
            nanos: primitive(child(array, "nanosWithinMicro")?)?,
            utc,
        })
    }

    fn nested(
        name: &str,
        kind: Option<&Kind>,
        array: &'a dyn Array,
    ) -> Result<Option<Values<'a>>, Unreadable> {
        Ok(match kind {
            Some(Kind::Array(list)) => match array.as_list_opt::<i32>() {
                Some(a) => {
                    let elements = Self::new(name, list.element_type.as_deref(), a.values())?;
                    Some(Values::List(a, Box::new(elements)))
                }
                None => None,
            },
            Some(Kind::Map(map)) => match array.as_map_opt() {
                Some(a) => {
                    let keys = Self::new(name, map.key_type.as_deref(), a.keys())?;
                    let values = Self::new(name, map.value_type.as_deref(), a.values())?;
                    Some(Values::Map(a, Box::new(keys), Box::new(values)))
                }
                None => None,
            },
            Some(Kind::Struct(schema)) => match array.as_any().downcast_ref::<StructArray>() {
                Some(a) => Some(Values::Struct(keys(schema), struct_columns(schema, a)?)),
                None => None,
            },
            Some(Kind::Udt(udt)) => Some(Self::new(name, udt.sql_type.as_deref(), array)?.values),
            _ => None,
        })
    }

    /// Appends the value at `row`.
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        if self.array.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match &self.values {
            Values::Null => out.extend_from_slice(b"null"),
            Values::Boolean(a) => out.extend_from_slice(if a.value(row) { b"true" } else { b"false" }),
            Values::Byte(a) => json::integer(i64::from(a.value(row)), out),
            Values::Short(a) => json::integer(i64::from(a.value(row)), out),
            Values::Integer(a) => json::integer(i64::from(a.value(row)), out),
            Values::Long(a) => json::integer(a.value(row), out),
            Values::Float(a) => json::float(a.value(row), out),
            Values::Double(a) => json::double(a.value(row), out),
            Values::Decimal(a, scale) => quoted(out, |out| json::decimal(a.value(row), *scale, out)),
            Values::Text(a) => json::string(a.value(row), out),
            Values::LargeText(a) => json::string(a.value(row), out),
            Values::Binary(a) => json::base64(a.value(row), out),
            Values::Date(a) => quoted(out, |out| clock::date(i64::from(a.value(row)), out)),
            Values::Micros(a, utc) => timestamp(a.value(row), MICROS_PER_SECOND, *utc, out),
            Values::Nanos(a, utc) => timestamp(a.value(row), NANOS_PER_SECOND, *utc, out),
            Values::NanosPair { micros, nanos, utc } => {
                nanos_pair(micros.value(row), nanos.value(row), *utc, out);
            }
            Values::Time(a) => quoted(out, |out| clock::time_of_day(a.value(row), out)),
            Values::YearMonth(a, fields) => {
                quoted(out, |out| interval::year_month(a.value(row), *fields, out));
            }
            Values::DayTime(a, fields) => quoted(out, |out| interval::day_time(a.value(row), *fields, out)),
            Values::Calendar(a) => {
                let value = a.value(row);
                quoted(out, |out| interval::calendar(value.months, value.days, value.nanoseconds, out));
            }
            Values::List(a, elements) => list(a, elements, row, out)?,
            Values::Map(a, keys, values) => map(a, keys, values, row, out)?,
            Values::Struct(keys, columns) => object(keys, columns, row, out)?,
            Values::Variant { value, metadata } => {
                variant::write(metadata.value(row), value.value(row), out)?;
            }
            Values::Spatial { srid, wkb } => {
                clock::print(out, format_args!("{{\"srid\":{},\"wkb\":", srid.value(row)));
                json::base64(wkb.value(row), out);
                out.push(b'}');
            }
        }
        Ok(())
    }
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

fn timestamp(units: i64, per_second: i64, utc: bool, out: &mut Vec<u8>) {
    quoted(out, |out| {
        clock::timestamp(units, per_second, out);
        if utc {
            out.push(b'Z');
        }
    });
}

/// A timestamp in microseconds and the nanoseconds within the last one.
fn nanos_pair(micros: i64, nanos: i16, utc: bool, out: &mut Vec<u8>) {
    match micros.checked_mul(1_000).and_then(|n| n.checked_add(i64::from(nanos))) {
        Some(total) => timestamp(total, NANOS_PER_SECOND, utc, out),
        // Beyond the years that 64 bits of nanoseconds reach.
        None => timestamp(micros, MICROS_PER_SECOND, utc, out),
    }
}

fn list(array: &ListArray, elements: &Encoder<'_>, row: usize, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    out.push(b'[');
    let (start, end) = bounds(array.value_offsets(), row);
    for at in start..end {
        if at > start {
            out.push(b',');
        }
        elements.write(at, out)?;
    }
    out.push(b']');
    Ok(())
}

fn map(
    array: &MapArray,
    keys: &Encoder<'_>,
    values: &Encoder<'_>,
    row: usize,
    out: &mut Vec<u8>,
) -> Result<(), Unreadable> {
    out.push(b'{');
    let (start, end) = bounds(array.value_offsets(), row);
    for at in start..end {
        if at > start {
            out.push(b',');
        }
        key(keys, at, out)?;
        out.push(b':');
        values.write(at, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// A map's key: a string as it is, anything else by its JSON text.
fn key(keys: &Encoder<'_>, at: usize, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let start = out.len();
    keys.write(at, out)?;
    if out.get(start) != Some(&b'"') {
        let text = String::from_utf8_lossy(&out[start..]).into_owned();
        out.truncate(start);
        json::string(&text, out);
    }
    Ok(())
}

/// Where the elements of one row begin and end. Arrow's offsets never decrease and are never negative.
fn bounds(offsets: &[i32], row: usize) -> (usize, usize) {
    let at = |index: usize| usize::try_from(offsets[index]).unwrap_or(0);
    (at(row), at(row + 1))
}

#[cfg(test)]
mod tests;
