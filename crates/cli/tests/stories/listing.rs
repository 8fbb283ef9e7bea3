//! Finding jobs again.

use serde_json::json;
use tokio::task::JoinSet;

use crate::surroundings::{setup, sleepy};

#[tokio::test]
async fn filters_and_cursors_find_every_job_once() {
    // contract: A3
    let libra = sleepy().start().await;
    let api = libra.api();
    let mut red = Vec::new();
    for n in 0..5 {
        let colour = if n % 2 == 0 { "red" } else { "blue" };
        let id = api
            .submit(&json!({
                "code": "pass", "kind": "python", "name": format!("n{n}"), "queue": "night",
                "labels": {"colour": colour, "team": "a b"}
            }))
            .await;
        if colour == "red" {
            red.push(id);
        }
    }
    api.submit(&json!({"code": "SELECT 1", "kind": "sql", "executionMode": "spark-submit"})).await;
    red.reverse();

    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/api/v1/jobs?label=colour=red&limit=2{cursor}")).await.expect(200);
        assert_eq!(page["total"], 3);
        found
            .extend(page["jobs"].as_array().unwrap().iter().map(|j| j["jobId"].as_str().unwrap().to_owned()));
        let Some(next) = page["nextCursor"].as_str() else { break };
        let other = api.get(&format!("/api/v1/jobs?label=colour=blue&cursor={next}")).await;
        assert_eq!(other.pointers(), ["/cursor"], "a cursor belongs to its list: {}", other.text);
        cursor = format!("&cursor={next}");
    }
    assert_eq!(found, red, "newest first, each once");

    for (query, total) in [
        ("", 6),
        ("?kind=sql", 1),
        ("?kind=python", 5),
        ("?name=n3", 1),
        ("?queue=night", 5),
        ("?label=colour=blue&label=team=a%20b", 2),
        ("?label=colour=green", 0),
        ("?mode=spark-submit&engine=spark", 6),
        ("?mode=in-cluster", 0),
        ("?engine=flink", 0),
        ("?user=local", 6),
        ("?user=ada", 0),
        ("?status=QUEUED,SCHEDULED,RUNNING", 6),
        ("?status=FAILED", 0),
        ("?since=2020-01-01T00:00:00Z", 6),
        ("?until=2020-01-01T00:00:00Z", 0),
    ] {
        let list = api.get(&format!("/api/v1/jobs{query}")).await.expect(200);
        assert_eq!(list["total"], total, "{query}: {list}");
        assert_eq!(list["jobs"].as_array().unwrap().len(), total, "{query}");
    }
    let rest = api.get("/api/v1/jobs?offset=4").await.expect(200);
    assert_eq!((&rest["total"], rest["jobs"].as_array().unwrap().len()), (&json!(6), 2));
}

#[tokio::test]
async fn a_page_of_conditions_that_hardly_ever_meet_is_short() {
    // contract: A3, docs/decisions/0005
    const EACH: usize = 1_200;
    const AT_ONCE: usize = 12;
    let setup =
        setup().config("libra.queue.max-size: 10000\nlibra.resources.limits.max-concurrent-jobs: 0\n");
    let libra = setup.start().await;
    let api = libra.api();
    let job = |labels| json!({"code": "SELECT 1", "kind": "sql", "labels": labels});
    let both = api.submit(&job(json!({"colour": "red", "team": "data"}))).await;
    for labels in [json!({"colour": "red"}), json!({"team": "data"})] {
        let mut submitters = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (api, body) = (libra.api(), job(labels.clone()));
            submitters.spawn(async move {
                for _ in 0..EACH / AT_ONCE {
                    api.submit(&body).await;
                }
            });
        }
        submitters.join_all().await;
    }
    let asked = "/api/v1/jobs?label=colour=red&label=team=data";
    let first = api.get(asked).await.expect(200);
    assert_eq!(
        (&first["jobs"], &first["total"], &first["totalAtLeast"]),
        (&json!([]), &json!(null), &json!(0))
    );
    let next = first["nextCursor"].as_str().unwrap();
    let last = api.get(&format!("{asked}&cursor={next}")).await.expect(200);
    assert_eq!((&last["jobs"][0]["jobId"], &last["nextCursor"]), (&json!(both), &json!(null)));
    assert_eq!(last["totalAtLeast"], 1);
    assert_eq!(api.get(&format!("{asked}&offset=1")).await.pointers(), ["/offset"]);

    let output = setup.run(&["jobs", "--url", libra.url(), "--label", "colour=red", "--label", "team=data"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && shown.contains(&both), "{shown}");
}

#[tokio::test]
async fn a_jobs_history_is_whole() {
    // contract: L1, L2
    let libra = sleepy().start().await;
    let api = libra.api();
    let id = api.submit(&json!({"code": "pass", "kind": "python"})).await;
    api.reaches(&id, "RUNNING").await;
    while api.delete(&format!("/api/v1/jobs/{id}")).await.status == 202 {}
    let events = api.get(&format!("/api/v1/jobs/{id}/events")).await.expect(200);
    let states: Vec<_> =
        events["events"].as_array().unwrap().iter().map(|e| e["to"].as_str().unwrap()).collect();
    assert_eq!(states, ["SUBMITTED", "VALIDATING", "QUEUED", "SCHEDULED", "RUNNING", "CANCELLED"]);
}
