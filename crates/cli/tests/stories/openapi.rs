//! The description of the API.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::surroundings::sleepy;

/// The methods of a path item.
pub const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|v| references(v, found));
        }
        Value::Array(items) => items.iter().for_each(|v| references(v, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn the_description_that_is_checked_in_is_the_one_that_is_served() {
    // contract: A8
    let libra = sleepy().start().await;
    let served = libra.api().get("/openapi.json").await;
    served.expect(200);
    is_kept("libra.json", &served.text);
}

#[tokio::test]
async fn the_schema_of_a_specification_that_is_checked_in_is_the_one_that_is_served() {
    // contract: F1
    let libra = sleepy().start().await;
    let served = libra.api().get("/api/v1/schemas/deployment").await;
    served.expect(200);
    let schema: Value = serde_json::from_str(&served.text).unwrap();
    is_kept("deployment.schema.json", &format!("{schema:#}\n"));
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"], serde_json::json!(["job_id", "job_type"]));
}

/// Panics when the file of `openapi/` is not this text; with `UPDATE=1` it becomes so.
#[track_caller]
fn is_kept(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi").join(name);
    if std::env::var_os("UPDATE").is_some_and(|v| v == "1") {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == text,
        "openapi/{name} is not what Libra serves; if the change is meant, run \
         `UPDATE=1 cargo test -p libra --test stories openapi` and look at the difference"
    );
}

#[tokio::test]
async fn the_page_for_people_needs_nothing_from_elsewhere() {
    // contract: A8
    let libra = sleepy().start().await;
    let page = libra.api().get("/docs").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'"), "{policy}");
    for file in ["/docs/page.css", "/docs/page.js", "/openapi.json"] {
        assert!(page.text.contains(&format!("\"{file}\"")), "the page says nothing of {file}");
        let text = libra.api().get(file).await;
        assert_eq!(text.status, 200, "{file}");
        assert!(file == "/openapi.json" || !text.text.contains("://"), "{file} leads elsewhere");
    }
    assert!(!page.text.contains("://"), "the page leads elsewhere");
}

#[tokio::test]
async fn every_example_of_a_submission_is_taken() {
    // contract: A8
    let libra = sleepy().env("LIBRA_EXECUTION_MODES_IN_CLUSTER_ENABLED", "true").start().await;
    let document = libra.api().get("/openapi.json").await.expect(200);
    for path in ["/api/v1/jobs", "/api/v1/jobs/submit", "/api/v1/spark/jobs", "/api/v1/spark/jobs/submit"] {
        let content = &document["paths"][path]["post"]["requestBody"]["content"]["application/json"];
        let examples = content["examples"].as_object().unwrap_or_else(|| panic!("{path}: {content}"));
        assert!(examples.len() >= 5, "{path}");
        for (name, example) in examples {
            let answer = libra.api().post(path, &example["value"]).await;
            assert_eq!(answer.status, 202, "{name}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn the_description_is_sound() {
    // contract: A8
    let libra = sleepy().start().await;
    let document = libra.api().get("/openapi.json").await.expect(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if !METHODS.contains(&method.as_str()) {
                continue;
            }
            let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no id"));
            assert!(ids.insert(id), "{id} is the id of two operations");
            assert!(!operation["responses"].as_object().unwrap().is_empty(), "{method} {path}");
            for name in path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}')) {
                let described = operation["parameters"].as_array().into_iter().flatten();
                assert!(
                    described
                        .clone()
                        .any(|p| p["name"] == name && p["in"] == "path" && p["required"] == true),
                    "{method} {path} does not describe {name}"
                );
            }
        }
    }
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads elsewhere"));
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}
