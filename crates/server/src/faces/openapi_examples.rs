//! Examples in the API's description. Each of them can be sent as it is.

use serde_json::{Value, json};
use utoipa::openapi::example::{Example, ExampleBuilder};
use utoipa::openapi::path::Operation;
use utoipa::openapi::{OpenApi as Document, RefOr};

/// Submissions: a name, what it shows, the body.
fn submissions() -> [(&'static str, &'static str, Value); 5] {
    [
        ("basic", "A query in a session of its own", json!({"code": "SELECT 1 AS one", "kind": "sql"})),
        (
            "shared-session",
            "A query that sees the temporary views of its user's earlier ones",
            json!({"code": "SELECT 1 AS one", "kind": "sql", "executionMode": "in-cluster", "sessionMode": "SHARED"}),
        ),
        (
            "python",
            "A Python program with settings of its own, on a driver of its own",
            json!({
                "code": "df = spark.range(10)\nprint(df.count())",
                "kind": "python",
                "name": "ten rows",
                "executionMode": "spark-submit",
                "sparkConfig": {"spark.sql.shuffle.partitions": "8"}
            }),
        ),
        (
            "with-limits",
            "High priority, limits on waiting and running, more tries when the infrastructure fails, and labels",
            json!({
                "code": "SELECT COUNT(*) AS n FROM range(1000)",
                "kind": "sql",
                "priority": 9,
                "queueTimeoutMinutes": 30,
                "timeoutMinutes": 60,
                "retryPolicy": {"maxRetries": 5, "initialDelayMs": 10000},
                "labels": {"team": "reports", "stage": "daily"}
            }),
        ),
        (
            "webhook",
            "A message to a webhook when the job has ended",
            json!({
                "code": "SELECT 1 AS one",
                "kind": "sql",
                "notifications": {"webhook": "https://example.com/hooks/libra", "events": ["SUCCEEDED", "FAILED"]}
            }),
        ),
    ]
}

/// Adds them to every call that takes a submission.
pub(super) fn add(document: &mut Document) {
    for item in document.paths.paths.values_mut() {
        let Some(operation) = item.post.as_mut().filter(|o| submits(o)) else { continue };
        let Some(RefOr::T(body)) = &mut operation.request_body else { continue };
        for content in body.content.values_mut() {
            let RefOr::T(content) = content else { continue };
            for (name, summary, value) in submissions() {
                content.examples.insert(name.to_owned(), RefOr::T(example(summary, value)));
            }
        }
    }
}

fn submits(operation: &Operation) -> bool {
    matches!(operation.operation_id.as_deref(), Some("create_job" | "submit_job"))
}

fn example(summary: &str, value: Value) -> Example {
    ExampleBuilder::new().summary(summary).value(Some(value)).build()
}
