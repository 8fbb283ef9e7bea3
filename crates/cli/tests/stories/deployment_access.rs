//! A Flink cluster that wants to see a certificate: TLS on both sides, and certificates that are renewed.

use std::fs;

use libra_testkit::FlinkCluster;
use libra_testkit::tls_door::TlsDoor;
use serde_json::json;

use crate::deployments::{apply, away, counter, programs, stable, told, until, view, with_flink};

#[tokio::test]
async fn a_certificate_that_is_renewed_is_shown_without_a_restart() {
    // contract: F7
    let cluster = FlinkCluster::shared().await;
    let place = tempfile::tempdir().unwrap();
    let port = cluster.url().rsplit(':').next().unwrap().parse().unwrap();
    let door = TlsDoor::for_guests(place.path(), port).await;
    let (first, second) = (door.identity("first"), door.identity("second"));
    let shown = place.path().join("shown.pem");
    fs::copy(&first, &shown).unwrap();
    door.lets_in(&first);
    let clusters = json!([{
        "name": "main",
        "url": format!("https://localhost:{}", door.port),
        "ca-file": door.ca_file,
        "identity-file": shown,
    }]);
    let libra =
        with_flink(cluster, &programs()).env("LIBRA_FLINK_CLUSTERS", &clusters.to_string()).start().await;
    let api = libra.api();
    apply(&api, &counter("behind-tls", &libra.scratch("behind-tls"))).await;
    let before = stable(&api, "behind-tls").await;

    door.lets_in(&second);
    until(&api, "behind-tls", "nobody answers", |view| !view["unreachableSince"].is_null()).await;
    // Half of a file is no certificate.
    fs::write(&shown, "-----BEGIN CERTIFICATE-----\n").unwrap();
    fs::copy(&second, &shown).unwrap();
    until(&api, "behind-tls", "it answers", |view| view["unreachableSince"].is_null()).await;
    assert!(told(&api, "behind-tls", "reachable_again").await);
    assert_eq!(stable(&api, "behind-tls").await["jobId"], before["jobId"], "the job did not notice");
    away(&api, cluster, "behind-tls").await;
}

#[tokio::test]
async fn a_deployment_whose_cluster_is_not_configured_says_so_and_is_kept() {
    // contract: F7
    let cluster = FlinkCluster::shared().await;
    let with = with_flink(cluster, &programs());
    let elsewhere = json!([{"name": "elsewhere", "url": cluster.url()}]).to_string();
    let without = with.clone().env("LIBRA_FLINK_CLUSTERS", &elsewhere);
    let mut libra = with.start().await;
    apply(&libra.api(), &counter("left", &libra.scratch("left"))).await;
    let before = stable(&libra.api(), "left").await;
    libra.stop();
    libra.start(&without).await;
    let left = view(&libra.api(), "left").await;
    assert_eq!(left["trouble"]["reason"], "cluster_not_configured", "{left:#}");
    assert_eq!((&left["stable"], &left["jobId"]), (&json!(false), &before["jobId"]), "{left:#}");
    libra.stop();
    libra.start(&with).await;
    let after = stable(&libra.api(), "left").await;
    assert_eq!((&after["trouble"], &after["jobId"]), (&json!(null), &before["jobId"]), "{after:#}");
    away(&libra.api(), cluster, "left").await;
}
