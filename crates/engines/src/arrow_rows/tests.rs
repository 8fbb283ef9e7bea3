use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_schema::DataType;
use serde_json::{Value, json};

use super::*;

fn schema(fields: &[(&str, Value)]) -> Value {
    let fields: Vec<Value> =
        fields.iter().map(|(n, t)| json!({"name": n, "type": t, "nullable": true, "metadata": {}})).collect();
    json!({"type": "struct", "fields": fields})
}

fn batches(schema: &Value, groups: &[Vec<Value>]) -> Vec<RecordBatch> {
    let mut rows = ArrowRows::new(schema).unwrap();
    let mut bytes: Vec<u8> = groups.iter().flat_map(|group| rows.write(group).unwrap()).collect();
    bytes.extend(rows.finish().unwrap());
    StreamReader::try_new(bytes.as_slice(), None).unwrap().map(Result::unwrap).collect()
}

#[test]
fn values_of_every_type_are_written() {
    let schema = schema(&[
        ("i", json!("integer")),
        ("l", json!("long")),
        ("f", json!("float")),
        ("d", json!("double")),
        ("m", json!("decimal(10,2)")),
        ("s", json!("string")),
        ("b", json!("binary")),
        ("day", json!("date")),
        ("at", json!("timestamp")),
        ("list", json!({"type": "array", "elementType": "integer", "containsNull": true})),
        (
            "map",
            json!({"type": "map", "keyType": "integer", "valueType": "string", "valueContainsNull": true}),
        ),
        ("o", json!({"type": "struct", "fields": [{"name": "x", "type": "boolean", "nullable": false}]})),
        ("v", json!("variant")),
        ("n", json!("void")),
    ]);
    let row = json!({"i": -7, "l": "9007199254740993", "f": 0.1, "d": "-Infinity", "m": "-1.50", "s": "ü", "b": "AP8=",
        "day": "2026-01-31", "at": "2026-01-31T08:00:00.5Z", "list": [1, null, 3], "map": {"1": "a", "2": null},
        "o": {"x": true}, "v": {"k": [1]}, "n": null});
    let groups = [vec![row.clone(), json!({"i": null})], vec![row]];
    let batches = batches(&schema, &groups);
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [2, 1]);
    let batch = &batches[0];
    let of = |name: &str| batch.column_by_name(name).unwrap();
    assert_eq!(of("i").as_primitive::<Int32Type>().value(0), -7);
    assert_eq!(of("l").as_primitive::<Int64Type>().value(0), 9_007_199_254_740_993);
    assert!((of("f").as_primitive::<Float32Type>().value(0) - 0.1_f32).abs() < f32::MIN_POSITIVE);
    assert!(of("d").as_primitive::<Float64Type>().value(0) < f64::MIN);
    assert_eq!(of("m").as_primitive::<Decimal128Type>().value_as_string(0), "-1.50");
    assert_eq!(of("s").as_string::<i32>().value(0), "ü");
    assert_eq!(of("b").as_binary::<i32>().value(0), [0, 255]);
    assert_eq!(of("at").as_primitive::<TimestampMicrosecondType>().value(0), 1_769_846_400_500_000);
    assert!(matches!(of("at").data_type(), DataType::Timestamp(_, Some(zone)) if &**zone == "UTC"));
    let list = of("list").as_list::<i32>().value(0);
    assert_eq!((list.len(), list.null_count()), (3, 1));
    let map = of("map").as_map().value(0);
    assert_eq!(map.column(0).as_primitive::<Int32Type>().values(), &[1, 2]);
    assert!(of("o").as_struct().column(0).as_boolean().value(0));
    assert_eq!(of("v").as_string::<i32>().value(0), r#"{"k":[1]}"#);
    for column in batch.columns() {
        assert!(column.is_null(1) || column.data_type() == &DataType::Null, "{:?}", column.data_type());
    }
}

#[test]
fn no_rows_and_no_columns_are_streams_too() {
    assert!(batches(&schema(&[("a", json!("long"))]), &[]).is_empty());
    let none = json!({"type": "struct", "fields": []});
    assert_eq!(batches(&none, &[vec![json!({}), json!({})]])[0].num_rows(), 2);
}

#[test]
fn variants_may_be_null_wherever_they_are() {
    let field = |name: &str, kind: Value| json!({"name": name, "type": kind, "nullable": false});
    let schema = json!({"type": "struct", "fields": [
        field("v", json!("variant")),
        field("list", json!({"type": "array", "elementType": "variant", "containsNull": false})),
        field("map", json!({"type": "map", "keyType": "string", "valueType": "variant", "valueContainsNull": false})),
        field("struct", json!({"type": "struct", "fields": [field("v", json!("variant"))]})),
    ]});
    let row = json!({"v": null, "list": [1, null], "map": {"k": null}, "struct": {"v": null}});
    let batches = batches(&schema, &[vec![row]]);
    assert_eq!(batches[0].column(0).null_count(), 1);
    assert_eq!(batches[0].column(1).as_list::<i32>().value(0).null_count(), 1);
    assert!(!batches[0].schema().field(1).is_nullable());
}

#[test]
fn what_does_not_fit_is_named() {
    let mut rows = ArrowRows::new(&schema(&[("i", json!("integer"))])).unwrap();
    assert_eq!(rows.write(&[json!({"i": "x"})]).unwrap_err().to_string(), "\"x\" is no Int32");
}
