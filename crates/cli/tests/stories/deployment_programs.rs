//! Programs of deployments: whose they are, that a new one is followed, and that old ones go.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libra_testkit::flink::{self, FlinkCluster};
use libra_testkit::{Libra, Setup, wait};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::deployments::{alive, apply, away, counter, events, stable, told, until, view};
use crate::surroundings::setup;

/// Longer than a file has to stay as it is before it counts.
const SETTLED: Duration = Duration::from_secs(6);

/// A Libra with a directory of the test's own for programs, which comes before the others; `artifacts` is YAML.
fn with_programs(cluster: &FlinkCluster, programs: &Path, artifacts: &str) -> Setup {
    setup().env("LIBRA_EXECUTION_MODES_IN_CLUSTER_ENABLED", "false").config(format!(
        "libra:\n  flink:\n    clusters: [{{name: main, url: \"{}\"}}]\n    artifacts: {{directories: [\"/nowhere\", \"{}\"]{artifacts}}}\n",
        cluster.url(),
        programs.display()
    ))
}

fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("libra-programs.").tempdir().unwrap()
}

fn lines<'a>(events: &'a [String], kind: &str) -> Vec<&'a String> {
    events.iter().filter(|line| line.split(' ').nth(1) == Some(kind)).collect()
}

/// Where Libra holds a program.
fn held(libra: &Libra, digest: &str) -> Option<PathBuf> {
    let tenants = fs::read_dir(libra.data_dir().join("artifacts/held")).ok()?;
    tenants.map(|tenant| tenant.unwrap().path().join(digest)).find(|file| file.exists())
}

#[tokio::test]
async fn a_file_that_is_replaced_is_deployed_once_and_when_it_is_whole() {
    // contract: F6
    let cluster = FlinkCluster::shared().await;
    let programs = directory();
    let job = programs.path().join("job.jar");
    let (one, two) = (flink::jobs_jar(), flink::jobs_jar_version("followed"));
    fs::copy(&one, &job).unwrap();
    let libra = with_programs(cluster, programs.path(), "").start().await;
    let (api, progress) = (libra.api(), libra.scratch("progress"));
    let mut spec = counter("followed", &progress);
    spec["artifact_path"] = json!("job.jar");
    let plan = api.post("/api/v1/deployments/plan", &spec).await.expect(200);
    assert!(plan["lines"].to_string().contains("job.jar is followed"), "{plan:#}");
    apply(&api, &spec).await;
    stable(&api, "followed").await;

    let bytes = fs::read(&two).unwrap();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let mut file = OpenOptions::new().write(true).truncate(true).open(&job).unwrap();
    file.write_all(first).unwrap();
    tokio::time::sleep(SETTLED).await;
    assert_eq!(view(&api, "followed").await["generation"], 1, "half a file is none");
    let refused = api.post("/api/v1/deployments/plan", &spec).await.expect(400);
    assert!(refused["message"].as_str().unwrap().contains("its end is missing"), "{refused}");
    file.write_all(second).unwrap();
    drop(file);
    until(&api, "followed", "the new one", |view| view["generation"] == 2).await;
    stable(&api, "followed").await;
    // Touched, and the same bytes: nothing is to be done.
    fs::copy(&two, &job).unwrap();
    tokio::time::sleep(SETTLED).await;
    let all = events(&api, "followed").await;
    let applied = lines(&all, "applied");
    assert_eq!(applied.len(), 2, "{all:#?}");
    assert!(
        applied[1].contains("for local (savepoint-redeploy): the file job.jar has changed"),
        "{applied:?}"
    );
    flink::assert_nothing_twice(&progress);
    let generations = api.get("/api/v1/deployments/followed/generations").await.expect(200);
    assert_eq!(generations["generations"][0]["digest"], flink::digest(&two), "{generations:#}");

    // Pinned bytes stay, however the file changes; that is told, once.
    spec["artifact_signature"] = json!(format!("sha256:{}", flink::digest(&two)));
    assert_eq!(apply(&api, &spec).await, "none", "the job is the same");
    fs::copy(&one, &job).unwrap();
    wait::until_async("it is told", async || told(&api, "followed", "program_not_followed").await).await;
    let (mut libra, setup) = (libra, with_programs(cluster, programs.path(), ""));
    libra.stop();
    libra.start(&setup).await;
    let api = libra.api();
    tokio::time::sleep(SETTLED).await;
    let all = events(&api, "followed").await;
    assert_eq!((lines(&all, "applied").len(), lines(&all, "program_not_followed").len()), (3, 1), "{all:#?}");

    // One that nobody wants followed is left until the next apply, and what has changed while Libra was away is seen.
    spec["artifact_signature"] = Value::Null;
    spec["artifact_watch"] = json!(false);
    apply(&api, &spec).await;
    let left = view(&api, "followed").await["generation"].as_u64().unwrap();
    fs::copy(&two, &job).unwrap();
    tokio::time::sleep(SETTLED).await;
    assert_eq!(view(&api, "followed").await["generation"], left);
    spec["artifact_watch"] = json!(true);
    apply(&api, &spec).await;
    api.post("/api/v1/deployments/followed/suspend", &json!({})).await.expect(202);
    until(&api, "followed", "suspended", |view| view["state"] == "suspended").await;
    libra.stop();
    fs::copy(&one, &job).unwrap();
    libra.start(&setup).await;
    let api = libra.api();
    until(&api, "followed", "the one that came meanwhile", |view| view["generation"] == left + 2).await;
    let now = view(&api, "followed").await;
    assert_eq!((&now["desired"], &now["jobId"]), (&json!("suspended"), &Value::Null), "it stays so: {now:#}");
    away(&api, cluster, "followed").await;
}

/// A key, and signatures by it as minisign writes them (the older kind, which signs the file itself).
struct Signer {
    pair: Ed25519KeyPair,
    id: [u8; 8],
}

impl Signer {
    fn new(id: [u8; 8]) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { pair: Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap(), id }
    }

    fn public_key(&self) -> String {
        STANDARD.encode([&b"Ed"[..], &self.id, self.pair.public_key().as_ref()].concat())
    }

    fn sign(&self, file: &Path) -> String {
        let comment = "a program";
        let own = self.pair.sign(&fs::read(file).unwrap());
        let both = self.pair.sign(&[own.as_ref(), comment.as_bytes()].concat());
        format!(
            "untrusted comment: who knows\n{}\ntrusted comment: {comment}\n{}\n",
            STANDARD.encode([&b"Ed"[..], &self.id, own.as_ref()].concat()),
            STANDARD.encode(both.as_ref())
        )
    }
}

#[tokio::test]
async fn only_what_is_signed_by_a_trusted_key_is_given_to_flink() {
    // contract: F6
    let cluster = FlinkCluster::shared().await;
    let programs = directory();
    let job = programs.path().join("signed.jar");
    // A program that the cluster has from nobody else.
    fs::copy(flink::jobs_jar_version("signed"), &job).unwrap();
    let beside = programs.path().join("signed.jar.minisig");
    let (ours, theirs) = (Signer::new([1; 8]), Signer::new([2; 8]));
    let with = |key: &Signer| {
        let artifacts = format!(", signatures: required, public-keys: [\"{}\"]", key.public_key());
        with_programs(cluster, programs.path(), &artifacts)
    };
    let mut libra = with(&ours).start().await;
    let (api, progress) = (libra.api(), libra.scratch("progress"));
    let mut spec = counter("signed", &progress);
    spec["artifact_path"] = json!("signed.jar");
    let changed = ours.sign(&flink::jobs_jar());
    for (given, lying, says) in [
        (None, None, "is required here"),
        (None, Some(theirs.sign(&job)), "which is not trusted here"),
        (None, Some(changed.clone()), "is not a signature of this program"),
        (Some(changed), Some(ours.sign(&job)), "is not a signature of this program"),
        (Some("nothing.minisig".to_owned()), None, "the path of one"),
        (Some("a\nb".to_owned()), None, "four lines"),
    ] {
        match lying {
            Some(text) => fs::write(&beside, text).unwrap(),
            None => drop(fs::remove_file(&beside)),
        }
        spec["signature"] = json!(given);
        let refused = api.post("/api/v1/deployments", &spec).await;
        assert_eq!(
            (refused.status, refused.pointers()),
            (400, vec!["/signature".to_owned()]),
            "{}",
            refused.text
        );
        assert!(refused.text.contains(says), "{says}: {}", refused.text);
    }
    // In the specification, by its path, and from beside the program.
    spec["signature"] = json!(ours.sign(&job));
    apply(&api, &spec).await;
    fs::write(&beside, ours.sign(&job)).unwrap();
    spec["signature"] = json!("signed.jar.minisig");
    apply(&api, &spec).await;
    spec["signature"] = Value::Null;
    apply(&api, &spec).await;
    stable(&api, "signed").await;
    let generations = api.get("/api/v1/deployments/signed/generations").await.expect(200);
    for generation in generations["generations"].as_array().unwrap() {
        assert_eq!(generation["signedBy"], "0101010101010101", "{generation:#}");
    }

    // It is checked again before Flink is given it: here its key is trusted no more, and Flink has lost it.
    api.post("/api/v1/deployments/signed/suspend", &json!({})).await.expect(202);
    until(&api, "signed", "suspended", |view| view["state"] == "suspended").await;
    libra.stop();
    let jars = cluster.api().get("/jars").await.expect(200);
    let digest = flink::digest(&job);
    let uploaded = jars["files"].as_array().unwrap().iter().filter_map(|jar| jar["id"].as_str());
    let uploaded: Vec<&str> = uploaded.filter(|id| id.contains(&digest)).collect();
    assert_eq!(uploaded.len(), 1, "{jars}");
    cluster.api().delete(&format!("/jars/{}", uploaded[0])).await.expect(200);
    libra.start(&with(&theirs)).await;
    let api = libra.api();
    api.post("/api/v1/deployments/signed/resume", &json!({})).await.expect(202);
    wait::until_async("it is refused", async || told(&api, "signed", "program_refused").await).await;
    assert_eq!(alive(cluster, "signed").await, [""; 0]);
    libra.stop();
    libra.start(&with(&ours)).await;
    let api = libra.api();
    stable(&api, "signed").await;
    flink::assert_nothing_twice(&progress);
    away(&api, cluster, "signed").await;
}

#[tokio::test]
async fn a_program_that_no_deployment_needs_is_let_go_of() {
    // contract: F6, Q3
    let cluster = FlinkCluster::shared().await;
    let programs = directory();
    let jars = [flink::jobs_jar_version("kept"), flink::jobs_jar_version("left")];
    let setup = with_programs(cluster, programs.path(), "").env("LIBRA_RETENTION_FILES", "10s");
    let libra = setup.start().await;
    let api = libra.api();
    for (id, jar) in [("keeps", &jars[0]), ("leaves", &jars[1])] {
        fs::copy(jar, programs.path().join(format!("{id}.jar"))).unwrap();
        let mut spec = counter(id, &libra.scratch(id));
        spec["artifact_path"] = json!(format!("{id}.jar"));
        apply(&api, &spec).await;
    }
    let [kept, left] = jars.map(|jar| held(&libra, &flink::digest(&jar)).expect("it is held"));
    // As if they had been applied yesterday.
    let yesterday = SystemTime::now() - Duration::from_hours(24);
    let age = |file: &Path| File::open(file).unwrap().set_modified(yesterday).unwrap();
    age(&kept);
    age(&left);
    away(&api, cluster, "leaves").await;
    wait::until_async("it is forgotten", async || api.get("/api/v1/deployments/leaves").await.status == 404)
        .await;
    wait::until_true("its program is let go of", || !left.exists()).await;
    assert!(kept.exists(), "a generation needs it");
    away(&api, cluster, "keeps").await;
}
