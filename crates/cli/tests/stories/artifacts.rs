//! Uploads by digest.

use std::time::{Duration, SystemTime};

use libra_testkit::Api;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::surroundings::sleepy;

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// Uploads; answers the reference.
pub async fn upload(api: &Api, bytes: &[u8]) -> String {
    let path = format!("/api/v1/artifacts?sha256={}", sha256(bytes));
    let answer = api.send("POST", &path, &[], bytes.to_vec()).await;
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
    answer.json()["artifact"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_upload_is_kept_once_and_only_with_its_own_digest() {
    // contract: A1
    let libra = sleepy().env("LIBRA_ARTIFACTS_MAX_SIZE", "1m").start().await;
    let api = libra.api();
    let bytes = vec![7u8; 300_000];
    let digest = sha256(&bytes);
    let there = format!("/api/v1/artifacts/sha256:{digest}");
    assert_eq!(api.get(&there).await.expect(404)["error"], "artifact_not_found");
    assert_eq!(api.send("HEAD", &there, &[], vec![]).await.status, 404);
    let path = format!("/api/v1/artifacts?sha256={digest}");
    let view = json!({"artifact": format!("artifact:sha256:{digest}"), "size": 300_000});
    assert_eq!(api.send("POST", &path, &[], bytes.clone()).await.expect(201), view);
    assert_eq!(
        api.send("POST", "/api/v1/artifacts", &[("x-content-sha256", &digest)], bytes).await.expect(200),
        view
    );
    assert_eq!(api.get(&there).await.expect(200), view);
    assert_eq!(api.send("HEAD", &there, &[], vec![]).await.status, 200);

    let other = "0".repeat(64);
    let wrong = api.send("POST", &format!("/api/v1/artifacts?sha256={other}"), &[], b"x".to_vec()).await;
    assert_eq!(wrong.expect(400)["error"], "digest_mismatch");
    assert_eq!(api.get(&format!("/api/v1/artifacts/sha256:{other}")).await.status, 404);
    let large = vec![1u8; 3_000_000];
    let path = format!("/api/v1/artifacts?sha256={}", sha256(&large));
    assert_eq!(api.send("POST", &path, &[], large).await.expect(413)["error"], "too_large");
    for query in ["", "?sha256=12", "?sha1=12"] {
        let answer = api.send("POST", &format!("/api/v1/artifacts{query}"), &[], b"x".to_vec()).await;
        assert_eq!(answer.expect(400)["error"], "invalid_query", "{query}");
    }
    let left = std::fs::read_dir(libra.data_dir().join("artifacts/incoming")).unwrap().count();
    assert_eq!(left, 0, "what was refused left nothing");
}

#[tokio::test]
async fn a_job_holds_its_uploads_and_names_no_missing_ones() {
    // contract: A1
    let libra =
        sleepy().env("LIBRA_RETENTION_ARTIFACTS", "1h").env("LIBRA_RETENTION_FILES", "5s").start().await;
    let api = libra.api();
    let missing = format!("artifact:sha256:{}#a.py", "0".repeat(64));
    let job = json!({"file": missing, "pyFiles": ["artifact:nonsense", missing], "archives": ["/a.zip#a"]});
    let refused = api.post("/api/v1/jobs", &job).await;
    assert_eq!(refused.expect(400)["error"], "invalid_request");
    assert_eq!(refused.pointers(), ["/pyFiles/0", "/file", "/pyFiles/1"]);
    let relative = json!({"code": "pass", "kind": "python", "jars": ["a.jar"], "packages": ["a:b"]});
    let refused = api.post("/api/v1/jobs", &relative).await;
    assert_eq!((refused.status, refused.pointers()), (422, vec!["/jars/0".into(), "/packages/0".into()]));

    let (held, loose) = (upload(&api, b"print(1)").await, upload(&api, b"print(2)").await);
    let id = api.submit(&json!({"file": format!("{held}#report.py"), "args": ["x"]})).await;
    let job = api.reaches(&id, "RUNNING").await;
    let program = libra.attempt_dir(&id, 1).join("uploads/file/report.py");
    assert_eq!(std::fs::read_to_string(program).unwrap(), "print(1)", "{job:#}");
    // Both are as old as an upload may be. The job's stays, although nobody asked for it meanwhile.
    let kept = libra.data_dir().join("artifacts/kept");
    let tenant = std::fs::read_dir(kept).unwrap().next().unwrap().unwrap().path();
    let file = |reference: &str| tenant.join(reference.rsplit(':').next().unwrap());
    for reference in [&held, &loose] {
        let file = std::fs::File::open(file(reference)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_hours(2)).unwrap();
    }
    libra_testkit::wait::until_true("the loose upload is removed", || !file(&loose).exists()).await;
    assert!(file(&held).exists(), "it was removed under a running job");
    api.delete(&format!("/api/v1/jobs/{id}")).await;
    libra_testkit::wait::until_true("it goes when its job's files go", || !file(&held).exists()).await;
}
