//! From Spark's JSON spelling of a type to Arrow's type.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, TimeUnit};
use serde_json::Value;

/// The most digits of Spark's decimals.
const MAX_PRECISION: u8 = 38;

/// A type, as far as writing it goes.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Null,
    Boolean,
    Byte,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Decimal(u8, i8),
    Text,
    Binary,
    Date,
    Timestamp,
    TimestampNtz,
    Time,
    List(Arc<Field>, Box<Kind>),
    /// The entries, keys and values.
    Map(Arc<Field>, Box<Kind>, Box<Kind>),
    Struct(Fields, Vec<(String, Kind)>),
}

impl Kind {
    /// The kind of a type in Spark's spelling.
    fn of(spark: &Value) -> Self {
        match spark.as_str() {
            Some(name) => Self::named(name),
            None => Self::nested(spark),
        }
    }

    fn named(name: &str) -> Self {
        match name {
            "void" => Self::Null,
            "boolean" => Self::Boolean,
            "byte" => Self::Byte,
            "short" => Self::Short,
            "integer" => Self::Integer,
            "long" => Self::Long,
            "float" => Self::Float,
            "double" => Self::Double,
            "binary" => Self::Binary,
            "date" => Self::Date,
            "timestamp" => Self::Timestamp,
            "timestamp_ntz" => Self::TimestampNtz,
            _ if name.starts_with("time(") => Self::Time,
            _ => Self::decimal(name).unwrap_or(Self::Text),
        }
    }

    fn decimal(name: &str) -> Option<Self> {
        let (precision, scale) = name.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
        let precision = precision.trim().parse().ok().filter(|p| (1..=MAX_PRECISION).contains(p))?;
        Some(Self::Decimal(precision, scale.trim().parse().ok()?))
    }

    fn nested(spark: &Value) -> Self {
        let nullable = |flag: &str, of: &str| is_nullable(spark, flag, of);
        let kind = |name: &str| Self::of(spark.get(name).unwrap_or(&Value::Null));
        match spark.get("type").and_then(Value::as_str) {
            Some("array") => {
                let element = kind("elementType");
                let field = Field::new("element", element.arrow(), nullable("containsNull", "elementType"));
                Self::List(Arc::new(field), Box::new(element))
            }
            Some("map") => {
                let (key, value) = (kind("keyType"), kind("valueType"));
                let fields = Fields::from(vec![
                    Field::new("key", key.arrow(), false),
                    Field::new("value", value.arrow(), nullable("valueContainsNull", "valueType")),
                ]);
                let entries = Field::new("entries", DataType::Struct(fields), false);
                Self::Map(Arc::new(entries), Box::new(key), Box::new(value))
            }
            Some("struct") => {
                let (columns, fields) = fields(spark);
                Self::Struct(fields, columns)
            }
            Some(_) | None => Self::Text,
        }
    }

    /// Arrow's type.
    pub(super) fn arrow(&self) -> DataType {
        match self {
            Self::Null => DataType::Null,
            Self::Boolean => DataType::Boolean,
            Self::Byte => DataType::Int8,
            Self::Short => DataType::Int16,
            Self::Integer => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Decimal(precision, scale) => DataType::Decimal128(*precision, *scale),
            Self::Text => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::TimestampNtz => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Time => DataType::Time64(TimeUnit::Nanosecond),
            Self::List(field, _) => DataType::List(Arc::clone(field)),
            Self::Map(entries, ..) => DataType::Map(Arc::clone(entries), false),
            Self::Struct(fields, _) => DataType::Struct(fields.clone()),
        }
    }
}

/// Whether there may be NULL where the `flag` of `holder` says so for its type `of`.
///
/// Arrow's own null type has no values but nulls, and a variant that is JSON's null is stored as NULL.
fn is_nullable(holder: &Value, flag: &str, of: &str) -> bool {
    holder.get(flag).and_then(Value::as_bool).unwrap_or(true)
        || matches!(holder.get(of).and_then(Value::as_str), Some("void" | "variant"))
}

/// The fields of a struct, or of a whole schema.
pub(super) fn fields(schema: &Value) -> (Vec<(String, Kind)>, Fields) {
    let mut columns = Vec::new();
    let mut fields = Vec::new();
    for field in schema.get("fields").and_then(Value::as_array).into_iter().flatten() {
        let name = field.get("name").and_then(Value::as_str).unwrap_or_default();
        let kind = Kind::of(field.get("type").unwrap_or(&Value::Null));
        fields.push(Field::new(name, kind.arrow(), is_nullable(field, "nullable", "type")));
        columns.push((name.to_owned(), kind));
    }
    (columns, fields.into())
}
