//! Spark's JSON spelling of a schema (`df.schema.json()`).

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::interval;
use super::proto_types::{DataType, Kind, StringType, Struct, StructField};

/// The metadata key under which Spark keeps the collations of a column's strings.
const COLLATIONS: &str = "__COLLATIONS";
/// Spark's default collation, which is not spelled out.
const BINARY_COLLATION: &str = "UTF8_BINARY";
/// Spark's number for a spatial column of mixed reference systems.
const MIXED_SRID: i32 = -1;

/// A whole schema: a struct whose duplicate column names have become `a`, `a_2`, as in the rows.
pub(super) fn spell(schema: &Struct) -> Value {
    let names = column_names(schema.fields.iter().map(|f| f.name.as_str()));
    let fields: Vec<Value> = schema.fields.iter().zip(names).map(|(f, name)| field(f, &name)).collect();
    json!({ "type": "struct", "fields": fields })
}

/// The names of columns as they are in the rows: a name seen before gets the first free suffix `_2`, `_3` ….
pub(super) fn column_names<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    let originals: HashSet<&str> = names.clone().collect();
    let mut used: HashSet<String> = HashSet::new();
    names
        .map(|name| {
            let mut unique = name.to_owned();
            let mut number = 2;
            while used.contains(&unique) {
                unique = format!("{name}_{number}");
                number += 1;
                if originals.contains(unique.as_str()) {
                    name.clone_into(&mut unique);
                }
            }
            used.insert(unique.clone());
            unique
        })
        .collect()
}

fn field(field: &StructField, name: &str) -> Value {
    let mut metadata = field
        .metadata
        .as_deref()
        .and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok())
        .unwrap_or_default();
    if let Some(data_type) = &field.data_type {
        let mut collations = Map::new();
        collect_collations(data_type, name, &mut collations);
        if !collations.is_empty() {
            metadata.insert(COLLATIONS.to_owned(), Value::Object(collations));
        }
    }
    json!({ "name": name, "type": inner(field.data_type.as_ref()), "nullable": field.nullable, "metadata": metadata })
}

fn inner(data_type: Option<&DataType>) -> Value {
    data_type.map_or_else(|| json!("void"), data_type_json)
}

/// One type: a name, or an object for nested ones.
fn data_type_json(data_type: &DataType) -> Value {
    let Some(kind) = &data_type.kind else { return json!("void") };
    match kind {
        Kind::Null(_) => json!("void"),
        Kind::Binary(_) => json!("binary"),
        Kind::Boolean(_) => json!("boolean"),
        Kind::Byte(_) => json!("byte"),
        Kind::Short(_) => json!("short"),
        Kind::Integer(_) => json!("integer"),
        Kind::Long(_) => json!("long"),
        Kind::Float(_) => json!("float"),
        Kind::Double(_) => json!("double"),
        Kind::Decimal(d) => json!(format!("decimal({},{})", d.precision.unwrap_or(10), d.scale.unwrap_or(0))),
        Kind::String(_) => json!("string"),
        Kind::Char(c) => json!(format!("char({})", c.length)),
        Kind::VarChar(c) => json!(format!("varchar({})", c.length)),
        Kind::Date(_) => json!("date"),
        Kind::Timestamp(_) => json!("timestamp"),
        Kind::TimestampNtz(_) => json!("timestamp_ntz"),
        Kind::TimestampNtzNanos(p) => json!(format!("timestamp_ntz({})", p.precision.unwrap_or(9))),
        Kind::TimestampLtzNanos(p) => json!(format!("timestamp_ltz({})", p.precision.unwrap_or(9))),
        Kind::Time(p) => json!(format!("time({})", p.precision.unwrap_or(6))),
        Kind::CalendarInterval(_) => json!("interval"),
        Kind::YearMonthInterval(i) => json!(interval::year_month_type(*i)),
        Kind::DayTimeInterval(i) => json!(interval::day_time_type(*i)),
        Kind::Array(a) => json!({
            "type": "array", "elementType": inner(a.element_type.as_deref()), "containsNull": a.contains_null,
        }),
        Kind::Map(m) => json!({
            "type": "map", "keyType": inner(m.key_type.as_deref()), "valueType": inner(m.value_type.as_deref()),
            "valueContainsNull": m.value_contains_null,
        }),
        Kind::Struct(s) => spell(s),
        Kind::Variant(_) => json!("variant"),
        Kind::Geometry(s) => json!(format!("geometry({})", reference_system(s.srid))),
        Kind::Geography(s) => json!(format!("geography({}, SPHERICAL)", reference_system(s.srid))),
        Kind::Udt(u) => json!({
            "type": "udt", "class": u.jvm_class, "pyClass": u.python_class,
            "serializedClass": u.serialized_python_class, "sqlType": inner(u.sql_type.as_deref()),
        }),
        Kind::Unparsed(u) => json!(u.data_type_string),
    }
}

/// Spark's name of a spatial reference system.
fn reference_system(srid: i32) -> String {
    match srid {
        MIXED_SRID => "SRID:ANY".to_owned(),
        0 => "SRID:0".to_owned(),
        4326 => "OGC:CRS84".to_owned(),
        other => format!("EPSG:{other}"),
    }
}

/// Collects the collated strings of a column, not looking into structs: their own fields say theirs.
fn collect_collations(data_type: &DataType, path: &str, found: &mut Map<String, Value>) {
    match &data_type.kind {
        Some(Kind::String(StringType { collation }))
            if !collation.is_empty() && collation != BINARY_COLLATION =>
        {
            let provider = if collation.starts_with("UTF8") { "spark" } else { "icu" };
            found.insert(path.to_owned(), json!(format!("{provider}.{collation}")));
        }
        Some(Kind::Array(array)) => {
            if let Some(element) = &array.element_type {
                collect_collations(element, &format!("{path}.element"), found);
            }
        }
        Some(Kind::Map(map)) => {
            if let Some(key) = &map.key_type {
                collect_collations(key, &format!("{path}.key"), found);
            }
            if let Some(value) = &map.value_type {
                collect_collations(value, &format!("{path}.value"), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::proto_types::{Array, Decimal, Interval, Plain};
    use super::*;

    fn of(kind: Kind) -> DataType {
        DataType { kind: Some(kind) }
    }

    fn column(name: &str, kind: Kind) -> StructField {
        StructField { name: name.to_owned(), data_type: Some(of(kind)), nullable: true, metadata: None }
    }

    #[test]
    fn a_schema_is_spelled_as_spark_does() {
        // contract: A2
        let collated = Kind::String(StringType { collation: "UTF8_LCASE".to_owned() });
        let schema = Struct {
            fields: vec![
                column("a", Kind::Integer(Plain {})),
                column("a", Kind::Decimal(Decimal { scale: Some(2), precision: Some(10) })),
                column(
                    "l",
                    Kind::Array(Box::new(Array {
                        element_type: Some(Box::new(of(collated))),
                        contains_null: false,
                    })),
                ),
                column("i", Kind::DayTimeInterval(Interval { start_field: Some(0), end_field: Some(3) })),
            ],
        };
        assert_eq!(
            spell(&schema),
            json!({ "type": "struct", "fields": [
                { "name": "a", "type": "integer", "nullable": true, "metadata": {} },
                { "name": "a_2", "type": "decimal(10,2)", "nullable": true, "metadata": {} },
                { "name": "l", "type": { "type": "array", "elementType": "string", "containsNull": false },
                  "nullable": true, "metadata": { "__COLLATIONS": { "l.element": "spark.UTF8_LCASE" } } },
                { "name": "i", "type": "interval day to second", "nullable": true, "metadata": {} },
            ]})
        );
    }

    #[test]
    fn duplicate_names_stay_apart() {
        let names = |names: &[&str]| column_names(names.iter().copied());
        assert_eq!(names(&["a", "b", "a"]), ["a", "b", "a_2"]);
        assert_eq!(names(&["a", "a", "a"]), ["a", "a_2", "a_3"]);
        assert_eq!(names(&["a", "a", "a_2"]), ["a", "a_3", "a_2"]);
        assert_eq!(names(&["a_2", "a", "a", "a_2"]), ["a_2", "a", "a_3", "a_2_2"]);
    }

    proptest::proptest! {
        #[test]
        fn names_are_unique(names in proptest::collection::vec("[ab](_[23])?", 0..12)) {
            let unique = column_names(names.iter().map(String::as_str));
            proptest::prop_assert_eq!(unique.iter().collect::<HashSet<_>>().len(), names.len());
        }
    }
}
