use std::sync::Arc;

use arrow_array::builder::{ListBuilder, MapBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, DurationMicrosecondArray, Float32Array,
    Float64Array, Int32Array, Int64Array, IntervalYearMonthArray, LargeBinaryArray, ListArray, NullArray,
    RecordBatch, StringArray, StructArray, Time64NanosecondArray, TimestampMicrosecondArray,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType as ArrowType, Field, Fields};
use bytes::Bytes;
use proptest::prelude::*;

use super::super::proto_types::{
    Array as ArrayType, Decimal, Map, Plain, Precision, StringType, StructField,
};
use super::super::rows::RowWriter;
use super::*;

fn of(kind: Kind) -> DataType {
    DataType { kind: Some(kind) }
}

fn text() -> Kind {
    Kind::String(StringType { collation: String::new() })
}

fn interval(start: i32, end: i32) -> Interval {
    Interval { start_field: Some(start), end_field: Some(end) }
}

fn list_of(kind: Kind) -> Kind {
    Kind::Array(Box::new(ArrayType { element_type: Some(Box::new(of(kind))), contains_null: true }))
}

fn field(name: &str, kind: Kind) -> StructField {
    StructField { name: name.to_owned(), data_type: Some(of(kind)), nullable: true, metadata: None }
}

/// What a server would send: one IPC stream with one batch.
fn ipc(columns: &[(&str, ArrayRef)]) -> Bytes {
    let fields: Fields =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let arrays = columns.iter().map(|(_, array)| Arc::clone(array)).collect();
    let batch = RecordBatch::try_new(Arc::new(arrow_schema::Schema::new(fields)), arrays).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    Bytes::from(writer.into_inner().unwrap())
}

fn rows(columns: Vec<(&str, Kind, ArrayRef)>) -> Result<Vec<String>, Unreadable> {
    let arrays: Vec<_> = columns.iter().map(|(name, _, array)| (*name, Arc::clone(array))).collect();
    let fields = columns.into_iter().map(|(name, kind, _)| field(name, kind)).collect();
    let mut out = Vec::new();
    let (count, whole) = RowWriter::new(Struct { fields }).write(ipc(&arrays), u64::MAX, &mut out)?;
    let lines: Vec<String> = String::from_utf8(out).unwrap().lines().map(str::to_owned).collect();
    assert!(whole);
    assert_eq!(lines.len() as u64, count);
    Ok(lines)
}

fn one(kind: Kind, array: ArrayRef) -> String {
    rows(vec![("x", kind, array)]).unwrap().remove(0)
}

#[test]
fn plain_values_follow_the_contract() {
    // contract: A2
    let plain = Plain {};
    let cases: Vec<(Kind, ArrayRef, &str)> = vec![
        (Kind::Null(plain), Arc::new(NullArray::new(1)), "null"),
        (Kind::Boolean(plain), Arc::new(BooleanArray::from(vec![true])), "true"),
        (Kind::Integer(plain), Arc::new(Int32Array::from(vec![-7])), "-7"),
        (Kind::Long(plain), Arc::new(Int64Array::from(vec![i64::MAX])), "\"9223372036854775807\""),
        (Kind::Float(plain), Arc::new(Float32Array::from(vec![0.1])), "0.1"),
        (Kind::Double(plain), Arc::new(Float64Array::from(vec![f64::INFINITY])), "\"Infinity\""),
        (
            Kind::Decimal(Decimal { scale: Some(2), precision: Some(5) }),
            Arc::new(Decimal128Array::from(vec![-5]).with_precision_and_scale(5, 2).unwrap()),
            "\"-0.05\"",
        ),
        (text(), Arc::new(StringArray::from(vec!["a\"\n"])), r#""a\"\n""#),
        (Kind::Binary(plain), Arc::new(BinaryArray::from(vec![&b"ab"[..]])), "\"YWI=\""),
        (Kind::Binary(plain), Arc::new(LargeBinaryArray::from(vec![&b"ab"[..]])), "\"YWI=\""),
        (Kind::Date(plain), Arc::new(Date32Array::from(vec![19_782])), "\"2024-02-29\""),
        (
            Kind::Timestamp(plain),
            Arc::new(TimestampMicrosecondArray::from(vec![1_500_000]).with_timezone("Etc/UTC")),
            "\"1970-01-01T00:00:01.5Z\"",
        ),
        (
            Kind::TimestampNtz(plain),
            Arc::new(TimestampMicrosecondArray::from(vec![0])),
            "\"1970-01-01T00:00:00\"",
        ),
        (
            Kind::Time(Precision { precision: Some(6) }),
            Arc::new(Time64NanosecondArray::from(vec![1_500_000_000])),
            "\"00:00:01.5\"",
        ),
        (
            Kind::YearMonthInterval(interval(0, 1)),
            Arc::new(IntervalYearMonthArray::from(vec![14])),
            "\"INTERVAL '1-2' YEAR TO MONTH\"",
        ),
        (
            Kind::DayTimeInterval(interval(0, 3)),
            Arc::new(DurationMicrosecondArray::from(vec![93_784_500_000])),
            "\"INTERVAL '1 02:03:04.5' DAY TO SECOND\"",
        ),
    ];
    for (kind, array, expected) in cases {
        assert_eq!(one(kind, array), format!("{{\"x\":{expected}}}"));
    }
}

#[test]
fn a_missing_value_is_null_whatever_the_type() {
    let lines = rows(vec![
        ("a", Kind::Integer(Plain {}), Arc::new(Int32Array::from(vec![Some(1), None]))),
        ("b", text(), Arc::new(StringArray::from(vec![None, Some("x")]))),
    ]);
    assert_eq!(lines.unwrap(), [r#"{"a":1,"b":null}"#, r#"{"a":null,"b":"x"}"#]);
}

#[test]
fn nested_values_are_nested() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None]), None]);
    let lines = rows(vec![("l", list_of(Kind::Integer(Plain {})), Arc::new(list))]);
    assert_eq!(lines.unwrap(), [r#"{"l":[1,null]}"#, r#"{"l":null}"#]);

    let mut lists = ListBuilder::new(ListBuilder::new(StringBuilder::new()));
    lists.values().append_value([Some("a")]);
    lists.values().append_value([Some("b"), Some("c")]);
    lists.append(true);
    assert_eq!(one(list_of(list_of(text())), Arc::new(lists.finish())), r#"{"x":[["a"],["b","c"]]}"#);

    // Two fields of one name stay apart, as in the schema.
    let inner = StructArray::from(vec![
        (Arc::new(Field::new("a", ArrowType::Int32, true)), Arc::new(Int32Array::from(vec![1])) as ArrayRef),
        (Arc::new(Field::new("a", ArrowType::Int32, true)), Arc::new(Int32Array::from(vec![2])) as ArrayRef),
    ]);
    let fields = vec![field("a", Kind::Integer(Plain {})), field("a", Kind::Integer(Plain {}))];
    assert_eq!(one(Kind::Struct(Struct { fields }), Arc::new(inner)), r#"{"x":{"a":1,"a_2":2}}"#);
}

#[test]
fn keys_of_maps_are_strings() {
    let map = |key: Kind| {
        Kind::Map(Box::new(Map {
            key_type: Some(Box::new(of(key))),
            value_type: Some(Box::new(of(text()))),
            value_contains_null: true,
        }))
    };
    let mut numbers = MapBuilder::new(None, arrow_array::builder::Int32Builder::new(), StringBuilder::new());
    numbers.keys().append_value(7);
    numbers.values().append_value("x");
    numbers.append(true).unwrap();
    assert_eq!(one(map(Kind::Integer(Plain {})), Arc::new(numbers.finish())), r#"{"x":{"7":"x"}}"#);

    let mut names = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    names.keys().append_value("a\"b");
    names.values().append_null();
    names.append(true).unwrap();
    assert_eq!(one(map(text()), Arc::new(names.finish())), r#"{"x":{"a\"b":null}}"#);
}

#[test]
fn a_column_of_another_type_is_refused() {
    let wrong = rows(vec![("x", text(), Arc::new(Int32Array::from(vec![1])))]);
    assert!(matches!(wrong, Err(Unreadable::Column { column, .. }) if column == "x"));
}

#[test]
fn a_full_result_ends_with_a_whole_row() {
    let array: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
    let writer = RowWriter::new(Struct { fields: vec![field("a", Kind::Integer(Plain {}))] });
    let mut out = Vec::new();
    assert_eq!(writer.write(ipc(&[("a", array)]), 17, &mut out).unwrap(), (2, false));
    assert_eq!(out, b"{\"a\":1}\n{\"a\":2}\n");
}

proptest! {
    #[test]
    fn rows_read_back(values in proptest::collection::vec((any::<Option<i64>>(), any::<Option<String>>()), 1..20)) {
        let numbers: ArrayRef = Arc::new(values.iter().map(|(n, _)| *n).collect::<Int64Array>());
        let names: ArrayRef = Arc::new(values.iter().map(|(_, s)| s.as_deref()).collect::<StringArray>());
        let lines = rows(vec![("n", Kind::Long(Plain {}), numbers), ("s", text(), names)]).unwrap();
        for (line, (number, name)) in lines.iter().zip(values) {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            prop_assert_eq!(row["s"].as_str().map(str::to_owned), name);
            let read = row["n"].as_i64().or_else(|| row["n"].as_str().map(|s| s.parse().unwrap()));
            prop_assert_eq!(read, number);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let writer = RowWriter::new(Struct { fields: vec![field("a", text())] });
        let _ = writer.write(Bytes::from(bytes), u64::MAX, &mut Vec::new());
    }
}
