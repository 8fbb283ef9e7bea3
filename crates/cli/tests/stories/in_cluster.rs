//! SQL in the shared Spark.

use serde_json::{Value, json};

use crate::surroundings::{shared, turn};

fn sql(code: &str) -> Value {
    json!({"code": code, "kind": "sql", "executionMode": "in-cluster"})
}

fn shared_sql(code: &str) -> Value {
    json!({"code": code, "kind": "sql", "executionMode": "in-cluster", "sessionMode": "SHARED"})
}

#[tokio::test]
async fn statements_of_every_sort_work() {
    // contract: S1
    let _turn = turn().await;
    let api = shared().await.api();
    let job = api.run(&sql("CREATE TABLE planets (name STRING, moons INT) USING parquet")).await;
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
    assert!(job["usage"].is_null(), "it has no process of its own: {job:#}");
    let insert = "INSERT INTO planets VALUES ('Earth', 1), ('Mars', 2), ('Venus', 0)";
    assert_eq!(api.run(&sql(insert)).await["status"], "SUCCEEDED");
    let rows = api.rows(&sql("SELECT name, moons FROM planets WHERE moons > 0 ORDER BY moons")).await;
    assert_eq!(rows, [json!({"name": "Earth", "moons": 1}), json!({"name": "Mars", "moons": 2})]);
    assert_eq!(api.run(&sql("DROP TABLE planets")).await["status"], "SUCCEEDED");
}

#[tokio::test]
async fn values_of_every_type_come_back_as_promised() {
    // contract: A2
    let _turn = turn().await;
    let api = shared().await.api();
    let rows = api
        .rows(&sql(
            "SELECT 7 AS i, 9007199254740992 AS safe, 9007199254740993 AS big, CAST(1.50 AS DECIMAL(10, 2)) AS d, \
             'ü' AS s, true AS b, NULL AS nothing, DATE'2026-01-31' AS day, \
             TIMESTAMP'2026-01-31 08:00:00.5Z' AS at, array(1, 2) AS list, map('k', 1) AS map, \
             named_struct('x', 1, 'y', 'z') AS struct, X'00FF' AS bytes, double('NaN') AS nan, 1.5D AS half, \
             1 AS twice, 2 AS twice",
        ))
        .await;
    let row = &rows[0];
    assert_eq!(row["i"], 7);
    assert_eq!(row["big"], "9007199254740993", "beyond 2^53 as text");
    assert_eq!(row["d"], "1.50");
    assert_eq!((&row["s"], &row["b"], &row["nothing"]), (&json!("ü"), &json!(true), &Value::Null));
    assert_eq!(row["day"], "2026-01-31");
    let at = row["at"].as_str().unwrap();
    assert!(at.starts_with("2026-01-31T08:00:00.5") && at.ends_with('Z'), "{at}");
    assert_eq!((&row["list"], &row["map"]), (&json!([1, 2]), &json!({"k": 1})));
    assert_eq!(row["struct"], json!({"x": 1, "y": "z"}));
    assert_eq!((&row["bytes"], &row["nan"], &row["half"]), (&json!("AP8="), &json!("NaN"), &json!(1.5)));
    assert_eq!((&row["twice"], &row["twice_2"]), (&json!(1), &json!(2)), "a second column of one name");
}

#[tokio::test]
async fn an_sql_error_is_the_users_and_says_what_is_wrong() {
    // contract: L4, L7
    let _turn = turn().await;
    let api = shared().await.api();
    for (code, word) in
        [("SELECT * FROM no_such_table", "no_such_table"), ("SELEC 1", "SELEC"), ("SELECT 1/0", "zero")]
    {
        let job = api.run(&sql(code)).await;
        assert_eq!(job["status"], "FAILED", "{job:#}");
        assert_eq!(job["error"]["class"], "user", "{job:#}");
        assert!(
            job["error"]["message"].as_str().unwrap().to_lowercase().contains(&word.to_lowercase()),
            "{job:#}"
        );
        assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "a user's error is not retried: {job:#}");
        let id = job["jobId"].as_str().unwrap();
        let result = api.get(&format!("/api/v1/jobs/{id}/result")).await;
        assert_eq!(result.expect(409)["error"], "no_result");
    }
}

#[tokio::test]
async fn jobs_run_beside_each_other() {
    // contract: S1
    let _turn = turn().await;
    let api = shared().await.api();
    let mut ids = Vec::new();
    for n in 1..=4 {
        ids.push((n, api.submit(&sql(&format!("SELECT sum(id) AS total FROM range({n}000)"))).await));
    }
    for (n, id) in ids {
        let job = api.ended(&id).await;
        assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
        let rows = n * 1000;
        assert_eq!(job["result"]["rows"][0]["total"], rows * (rows - 1) / 2, "{job:#}");
    }
}

#[tokio::test]
async fn a_shared_session_is_shared_and_an_isolated_one_is_not() {
    // contract: S1
    let _turn = turn().await;
    let api = shared().await.api();
    let job = api.run(&shared_sql("CREATE OR REPLACE TEMP VIEW mine AS SELECT 7 AS n")).await;
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
    assert_eq!(api.rows(&shared_sql("SELECT n FROM mine")).await, [json!({"n": 7})]);
    let alone = api.run(&sql("SELECT n FROM mine")).await;
    assert_eq!((&alone["status"], &alone["error"]["class"]), (&json!("FAILED"), &json!("user")), "{alone:#}");
}

#[tokio::test]
async fn a_long_result_comes_page_by_page() {
    // contract: A2
    let _turn = turn().await;
    let api = shared().await.api();
    let job = api.run(&sql("SELECT id FROM range(2500) ORDER BY id")).await;
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
    let path = format!("/api/v1/jobs/{}/result", job["jobId"].as_str().unwrap());
    let (mut ids, mut pages, mut query) = (Vec::new(), 0, "?limit=1000".to_owned());
    loop {
        let page = api.get(&format!("{path}{query}")).await.expect(200);
        assert_eq!(page["rowCount"], 2500);
        ids.extend(page["result"]["rows"].as_array().unwrap().iter().map(|r| r["id"].as_u64().unwrap()));
        pages += 1;
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        query = format!("?limit=1000&cursor={cursor}");
    }
    assert_eq!(pages, 3);
    assert_eq!(ids, (0..2500).collect::<Vec<_>>());
    let wrong = api.get(&format!("{path}?cursor=abc")).await;
    assert_eq!(wrong.expect(400)["error"], "invalid_query");
    assert_eq!(wrong.pointers(), ["/cursor"]);
}
