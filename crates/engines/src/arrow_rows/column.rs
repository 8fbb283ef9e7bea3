//! Values of one column as an Arrow array.

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time64NanosecondType, TimestampMicrosecondType,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, ListArray, MapArray, NullArray, PrimitiveArray, StringArray,
    StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::kind::Kind;
use super::{NotArrow, time};

/// How much of a value that does not fit is told, in characters.
const SHOWN: usize = 40;

type Cells<'v> = [Option<&'v Value>];

/// The array of `values`; None is NULL.
pub(super) fn array(kind: &Kind, values: &Cells<'_>) -> Result<ArrayRef, NotArrow> {
    Ok(match kind {
        Kind::Null => Arc::new(NullArray::new(values.len())),
        Kind::Boolean => Arc::new(BooleanArray::from(read(kind, values, boolean)?)),
        Kind::Byte => numbers::<Int8Type>(kind, values, whole)?,
        Kind::Short => numbers::<Int16Type>(kind, values, whole)?,
        Kind::Integer => numbers::<Int32Type>(kind, values, whole)?,
        Kind::Long => numbers::<Int64Type>(kind, values, whole)?,
        Kind::Float => numbers::<Float32Type>(kind, values, fraction)?,
        Kind::Double => numbers::<Float64Type>(kind, values, fraction)?,
        Kind::Decimal(_, scale) => numbers::<Decimal128Type>(kind, values, |v| decimal(&text(v), *scale))?,
        Kind::Date => numbers::<Date32Type>(kind, values, |v| time::date(v.as_str()?))?,
        Kind::Timestamp | Kind::TimestampNtz => {
            numbers::<TimestampMicrosecondType>(kind, values, |v| time::timestamp(v.as_str()?))?
        }
        Kind::Time => numbers::<Time64NanosecondType>(kind, values, |v| time::nanos(v.as_str()?))?,
        Kind::Text => Arc::new(values.iter().map(|v| v.map(text)).collect::<StringArray>()),
        Kind::Binary => {
            let bytes = read(kind, values, |v| STANDARD.decode(v.as_str()?).ok())?;
            Arc::new(bytes.into_iter().collect::<BinaryArray>())
        }
        Kind::List(field, inner) => {
            let lists = read(kind, values, Value::as_array)?;
            let items: Vec<Option<&Value>> =
                lists.iter().flatten().flat_map(|list| list.iter().map(present)).collect();
            let (offsets, nulls) = bounds(lists.iter().map(|list| list.map(Vec::len)));
            Arc::new(ListArray::try_new(Arc::clone(field), offsets, array(inner, &items)?, nulls)?)
        }
        Kind::Map(entries, key, value) => {
            let maps = read(kind, values, Value::as_object)?;
            let pairs = || maps.iter().flatten().flat_map(|map| map.iter());
            let keys: Vec<Value> = pairs().map(|(text, _)| key_of(key, text)).collect();
            let keys: Vec<Option<&Value>> = keys.iter().map(Some).collect();
            let items: Vec<Option<&Value>> = pairs().map(|(_, item)| present(item)).collect();
            let (offsets, nulls) = bounds(maps.iter().map(|map| map.map(serde_json::Map::len)));
            let arrow_schema::DataType::Struct(fields) = entries.data_type() else {
                return Err(unfit(kind, &Value::Null));
            };
            let columns = vec![array(key, &keys)?, array(value, &items)?];
            let pairs = StructArray::try_new(fields.clone(), columns, None)?;
            Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, false)?)
        }
        Kind::Struct(fields, columns) => {
            let objects = read(kind, values, Value::as_object)?;
            let nulls = objects.iter().map(Option::is_some).collect::<NullBuffer>();
            let arrays = columns.iter().map(|(name, inner)| {
                let parts: Vec<Option<&Value>> =
                    objects.iter().map(|object| object.and_then(|o| o.get(name)).and_then(present)).collect();
                array(inner, &parts)
            });
            let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
            if arrays.is_empty() {
                Arc::new(StructArray::new_empty_fields(values.len(), Some(nulls)))
            } else {
                Arc::new(StructArray::try_new(fields.clone(), arrays, Some(nulls))?)
            }
        }
    })
}

fn present(value: &Value) -> Option<&Value> {
    Some(value).filter(|value| !value.is_null())
}

/// A map's key: JSON has texts only, so that other types stand in a text as JSON has them.
fn key_of(kind: &Kind, text: &str) -> Value {
    match kind {
        Kind::List(..) | Kind::Map(..) | Kind::Struct(..) => {
            serde_json::from_str(text).unwrap_or_else(|_| text.into())
        }
        Kind::Null
        | Kind::Boolean
        | Kind::Byte
        | Kind::Short
        | Kind::Integer
        | Kind::Long
        | Kind::Float
        | Kind::Double
        | Kind::Decimal(..)
        | Kind::Text
        | Kind::Binary
        | Kind::Date
        | Kind::Timestamp
        | Kind::TimestampNtz
        | Kind::Time => text.into(),
    }
}

/// Where each list begins, and which are NULL.
fn bounds(lengths: impl Iterator<Item = Option<usize>> + Clone) -> (OffsetBuffer<i32>, Option<NullBuffer>) {
    let nulls = lengths.clone().map(|length| length.is_some()).collect::<NullBuffer>();
    (OffsetBuffer::from_lengths(lengths.map(Option::unwrap_or_default)), Some(nulls))
}

fn read<'v, T>(
    kind: &Kind,
    values: &Cells<'v>,
    one: impl Fn(&'v Value) -> Option<T>,
) -> Result<Vec<Option<T>>, NotArrow> {
    let read = values.iter().map(|value| match value {
        None => Ok(None),
        Some(value) => one(value).map(Some).ok_or_else(|| unfit(kind, value)),
    });
    read.collect()
}

fn numbers<T: ArrowPrimitiveType>(
    kind: &Kind,
    values: &Cells<'_>,
    one: impl Fn(&Value) -> Option<T::Native>,
) -> Result<ArrayRef, NotArrow> {
    let array: PrimitiveArray<T> = PrimitiveArray::from_iter(read(kind, values, one)?);
    Ok(Arc::new(array.with_data_type(kind.arrow())))
}

fn unfit(kind: &Kind, value: &Value) -> NotArrow {
    NotArrow::Value { kind: kind.arrow().to_string(), value: value.to_string().chars().take(SHOWN).collect() }
}

fn boolean(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| value.as_str()?.parse().ok())
}

/// A whole number, or the text of one that JSON can't hold.
fn whole<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    T::try_from(value.as_i64().or_else(|| value.as_str()?.parse().ok())?).ok()
}

/// A number, or the text of one that is none.
fn fraction<T: FromStr>(value: &Value) -> Option<T> {
    let text = match value {
        Value::Number(number) => Cow::from(number.to_string()),
        Value::String(text) if text == "Infinity" => "inf".into(),
        Value::String(text) if text == "-Infinity" => "-inf".into(),
        Value::String(text) => text.into(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    text.parse().ok()
}

/// The text itself, or what JSON has for it.
fn text(value: &Value) -> Cow<'_, str> {
    value.as_str().map_or_else(|| value.to_string().into(), Cow::from)
}

/// `12.50` with a scale of 2 is 1250.
fn decimal(text: &str, scale: i8) -> Option<i128> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let scale = usize::try_from(scale).ok()?;
    (part.len() <= scale).then(|| format!("{whole}{part:0<scale$}").parse().ok())?
}
