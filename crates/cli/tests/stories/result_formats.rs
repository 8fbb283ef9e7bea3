//! A result as JSON, CSV and Arrow: the same values in each.

use std::fs::File;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_ipc::reader::StreamReader;
use serde_json::{Value, json};

use crate::surroundings::{setup, shared, turn};

const EVERY_TYPE: &str = "SELECT 7 AS i, 9007199254740993 AS big, CAST(-1.50 AS DECIMAL(10, 2)) AS d, \
    'say \"hi\", ü' AS s, '' AS empty, CAST(NULL AS STRING) AS nothing, true AS b, DATE'2026-01-31' AS day, \
    TIMESTAMP'2026-01-31 08:00:00.5Z' AS at, TIMESTAMP_NTZ'2026-01-31 08:00:00' AS ntz, array(1, NULL) AS list, \
    map('k', 1) AS map, named_struct('x', 1, 'y', 'z') AS struct, X'00FF' AS bytes, double('NaN') AS nan, \
    float(0.1) AS f, INTERVAL '2' DAY AS span, parse_json('{\"v\":1}') AS var, 1 AS twice, 2 AS twice";

fn accept(kind: &str) -> [(&str, &str); 1] {
    [("accept", kind)]
}

#[tokio::test]
async fn a_result_comes_as_csv_and_as_arrow_with_every_type() {
    // contract: A2
    let _turn = turn().await;
    let libra = shared().await;
    let api = libra.api();
    let job = api.run(&json!({"code": EVERY_TYPE, "kind": "sql", "executionMode": "in-cluster"})).await;
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
    let id = job["jobId"].as_str().unwrap();
    let path = format!("/api/v1/spark/jobs/{id}/result");
    let csv = api.send("GET", &path, &accept("text/csv"), Vec::new()).await;
    assert_eq!((csv.status, csv.header("content-type")), (200, "text/csv; charset=utf-8; header=present"));
    assert_eq!((csv.header("x-libra-row-count"), csv.header("x-libra-truncated")), ("1", "false"));
    let row = &job["result"]["rows"][0];
    let expected = format!(
        "i,big,d,s,empty,nothing,b,day,at,ntz,list,map,struct,bytes,nan,f,span,var,twice,twice_2\r\n\
         7,9007199254740993,-1.50,\"say \"\"hi\"\", ü\",\"\",,true,2026-01-31,{},{},\"[1,null]\",\"{{\"\"k\"\":1}}\",\
         \"{{\"\"x\"\":1,\"\"y\"\":\"\"z\"\"}}\",AP8=,NaN,0.1,{},\"{{\"\"v\"\":1}}\",1,2\r\n",
        row["at"].as_str().unwrap(),
        row["ntz"].as_str().unwrap(),
        row["span"].as_str().unwrap()
    );
    assert_eq!(csv.text, expected);

    let file = libra.scratch("rows.arrow");
    let client = setup().env("LIBRA_URL", libra.url());
    let out = client.run(&["result", id, "--format", "arrow", "--to", file.to_str().unwrap()]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let batches: Vec<_> =
        StreamReader::try_new(File::open(&file).unwrap(), None).unwrap().map(Result::unwrap).collect();
    let [batch] = &batches[..] else { panic!("{}", batches.len()) };
    let of = |name: &str| batch.column_by_name(name).unwrap_or_else(|| panic!("{name}: {}", batch.schema()));
    assert_eq!(of("big").as_primitive::<Int64Type>().value(0), 9_007_199_254_740_993);
    assert_eq!(of("d").as_primitive::<Decimal128Type>().value_as_string(0), "-1.50");
    assert_eq!(of("s").as_string::<i32>().value(0), "say \"hi\", ü");
    assert_eq!(of("nothing").null_count(), 1);
    assert_eq!(of("day").as_primitive::<Date32Type>().value(0), 20_484);
    assert_eq!(of("at").as_primitive::<TimestampMicrosecondType>().value(0), 1_769_846_400_500_000);
    assert_eq!(of("list").as_list::<i32>().value(0).null_count(), 1);
    assert_eq!(of("map").as_map().keys().as_string::<i32>().value(0), "k");
    assert_eq!(of("struct").as_struct().num_columns(), 2);
    assert_eq!(of("bytes").as_binary::<i32>().value(0), [0, 255]);
    assert!(of("nan").as_primitive::<Float64Type>().value(0).is_nan());
    assert_eq!(of("twice_2").len(), 1);

    let refused = api.send("GET", &path, &accept("text/html"), Vec::new()).await;
    let problem = refused.expect(406);
    assert_eq!(problem["error"], "not_acceptable");
    for kind in ["application/json", "text/csv", "application/vnd.apache.arrow.stream"] {
        assert!(problem["message"].as_str().unwrap().contains(kind), "{problem}");
    }
    let arrow = accept("application/vnd.apache.arrow.stream");
    let paged = api.send("GET", &format!("{path}?limit=1"), &arrow, Vec::new()).await;
    assert_eq!((paged.status, paged.pointers()), (400, vec!["/limit".to_owned()]));
}

#[tokio::test]
async fn pages_of_csv_put_together_are_the_whole() {
    // contract: A2
    let _turn = turn().await;
    let api = shared().await.api();
    let body = json!({"code": "SELECT id, concat('n', id) AS name FROM range(25000) ORDER BY id", "kind": "sql",
        "executionMode": "in-cluster"});
    let job = api.run(&body).await;
    let path = format!("/api/v1/jobs/{}/result", job["jobId"].as_str().unwrap());
    let whole = api.send("GET", &path, &accept("text/csv"), Vec::new()).await.text;
    assert_eq!(whole.lines().count(), 25_001, "all of them, where no limit is given");
    let (mut pages, mut query) = (String::new(), "?limit=10000".to_owned());
    loop {
        let page = api.send("GET", &format!("{path}{query}"), &accept("text/csv"), Vec::new()).await;
        pages.push_str(&page.text);
        match page.header("x-libra-next-cursor") {
            "" => break,
            cursor => query = format!("?limit=10000&cursor={cursor}"),
        }
    }
    assert!(pages == whole);
    let json: Value = api.get(&format!("{path}?limit=2")).await.expect(200);
    assert_eq!(json["result"]["rows"], json!([{"id": 0, "name": "n0"}, {"id": 1, "name": "n1"}]));
}
