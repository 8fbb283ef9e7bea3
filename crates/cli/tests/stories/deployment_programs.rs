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
pub fn with_programs(cluster: &FlinkCluster, programs: &Path, artifacts: &str) -> Setup {
    setup().env("LIBRA_EXECUTION_MODES_IN_CLUSTER_ENABLED", "false").config(format!(
        "libra:\n  flink:\n    clusters: [{{name: main, url: \"{}\"}}]\n    artifacts: {{directories: [\"/nowhere\", \"{}\"]{artifacts}}}\n",
        cluster.url(),
        programs.display()
    ))
}

pub fn directory() -> tempfile::TempDir {
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
pub struct Signer {
    pair: Ed25519KeyPair,
    id: [u8; 8],
}

impl Signer {
    pub fn new(id: [u8; 8]) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { pair: Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap(), id }
    }

    pub fn public_key(&self) -> String {
        STANDARD.encode([&b"Ed"[..], &self.id, self.pair.public_key().as_ref()].concat())
    }

    pub fn sign(&self, file: &Path) -> String {
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
    let refused =
        until(&api, "signed", "refused", |view| view["trouble"]["reason"] == "program_refused").await;
    assert!(refused["trouble"]["message"].as_str().unwrap().contains("not trusted here"), "{refused:#}");
    assert!(told(&api, "signed", "program_refused").await);
    assert_eq!(alive(cluster, "signed").await, [""; 0]);
    libra.stop();
    libra.start(&with(&ours)).await;
    let api = libra.api();
    api.post("/api/v1/deployments/signed/resume", &json!({})).await.expect(202);
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

#[tokio::test]
async fn a_version_is_written_once_and_deployed_by_its_name() {
    // contract: F6
    let cluster = FlinkCluster::shared().await;
    let programs = directory();
    let setup = with_programs(cluster, programs.path(), "").env("LIBRA_RETENTION_FILES", "10s");
    let libra = setup.start().await;
    let api = libra.api();
    let (one, two) = (flink::jobs_jar_version("v1"), flink::jobs_jar_version("v2"));
    let libra_of = |arguments: &[&str]| {
        let mut command = setup.command();
        let output = command.args(arguments).args(["--url", libra.url()]).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let push = |file: &Path, version: &str| {
        libra_of(&["artifact", "push", file.to_str().unwrap(), "--name", "counter", "--version", version])
    };
    let mut spec = counter("versions", &libra.scratch("progress"));
    spec["artifact_path"] = json!("artifact:counter@1.0");
    let refused = api.post("/api/v1/deployments", &spec).await;
    assert_eq!(
        (refused.status, refused.pointers()),
        (400, vec!["/artifact_path".to_owned()]),
        "{}",
        refused.text
    );
    assert!(refused.text.contains("libra artifact push"), "{}", refused.text);

    assert_eq!(push(&one, "1.0"), (Some(0), "artifact:counter@1.0 is kept\n".to_owned(), String::new()));
    assert_eq!(push(&one, "1.0").0, Some(0), "the same bytes may come again");
    let (code, _, said) = push(&two, "1.0");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("a version is written once"), "{said}");
    assert_eq!(push(&two, "1.1").0, Some(0));
    for (name, version) in [("a/b", "1"), ("a", "b c"), ("a", &flink::digest(&one))] {
        let path = one.to_str().unwrap();
        let (code, _, said) = libra_of(&["artifact", "push", path, "--name", name, "--version", version]);
        assert_eq!(code, Some(2), "{name} {version}: {said}");
    }
    let (_, table, _) = libra_of(&["artifact", "list", "counter"]);
    let versions: Vec<&str> = table.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(versions, ["1.1", "1.0"], "{table}");
    let list = api.get("/api/v1/artifacts/counter/versions").await.expect(200);
    assert_eq!(list["versions"][1]["digest"], format!("sha256:{}", flink::digest(&one)), "{list:#}");
    api.get("/api/v1/artifacts/other/versions").await.expect(404);
    for query in ["name=counter", "version=1", "name=counter&version=1&nme=x"] {
        let path = format!("/api/v1/artifacts?sha256={}&{query}", flink::digest(&one));
        assert_eq!(api.send("POST", &path, &[], Vec::new()).await.status, 400, "{query}");
    }

    assert_eq!(apply(&api, &spec).await, "first-deploy");
    stable(&api, "versions").await;
    spec["artifact_path"] = json!("artifact:counter@1.1");
    assert_eq!(apply(&api, &spec).await, "savepoint-redeploy");
    stable(&api, "versions").await;
    flink::assert_nothing_twice(&libra.scratch("progress"));

    // It stays as long as it has its name, whoever deploys it.
    let kept = [&one, &two].map(|file| held(&libra, &flink::digest(file)).expect("it is held"));
    for file in &kept {
        let yesterday = SystemTime::now() - Duration::from_hours(24);
        File::open(file).unwrap().set_modified(yesterday).unwrap();
    }
    away(&api, cluster, "versions").await;
    tokio::time::sleep(SETTLED).await;
    assert!(kept.iter().all(|file| file.exists()));
}

/// Serves what `answer` says to the path of a request, over real HTTP.
async fn server(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> std::net::SocketAddr {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = vec![0; 4096];
            let length = stream.read(&mut asked).await.unwrap_or_default();
            let line = String::from_utf8_lossy(&asked[..length]).into_owned();
            // Who is cut off asks no more.
            let _ = stream.write_all(&answer(line.split(' ').nth(1).unwrap_or_default())).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

#[tokio::test]
async fn an_object_is_fetched_from_hosts_that_are_configured() {
    // contract: F6
    let cluster = FlinkCluster::shared().await;
    let jar = fs::read(flink::jobs_jar_version("object")).unwrap();
    let small = u64::try_from(jar.len()).unwrap();
    let address = server(move |path| {
        let head = |status: &str, length: usize, more: &str| {
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}Connection: close\r\n\r\n")
                .into_bytes()
        };
        match path {
            "/job.jar" => [head("200 OK", jar.len(), ""), jar.clone()].concat(),
            "/cut.jar" => [head("200 OK", jar.len(), ""), jar[..100].to_vec()].concat(),
            "/text.jar" => [head("200 OK", 4, ""), b"text".to_vec()].concat(),
            "/large.jar" => head("200 OK", 1 << 30, ""),
            "/endless.jar" => {
                [&b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"[..], &vec![7; 8 << 20]].concat()
            }
            "/moved.jar" => head("302 Found", 0, "Location: /job.jar\r\n"),
            "/broken.jar" => head("503 Service Unavailable", 0, ""),
            _ => head("404 Not Found", 0, ""),
        }
    })
    .await;
    let programs = directory();
    assert!(small < 1 << 20, "the limit below is above it");
    let libra = with_programs(cluster, programs.path(), &format!(", hosts: [\"{address}\"]"))
        .env("LIBRA_ARTIFACTS_MAX_SIZE", "2m")
        .start()
        .await;
    let (api, progress) = (libra.api(), libra.scratch("progress"));
    let mut spec = counter("fetched", &progress);
    for (object, status, says) in [
        (format!("http://{address}/none.jar"), 400, "HTTP 404"),
        (format!("http://{address}/moved.jar"), 400, "somewhere else"),
        (format!("http://{address}/large.jar"), 400, "libra.artifacts.max-size"),
        (format!("http://{address}/endless.jar"), 400, "libra.artifacts.max-size"),
        (format!("http://{address}/text.jar"), 400, "is no jar"),
        (format!("http://{address}/cut.jar"), 503, "could not be fetched"),
        (format!("http://{address}/broken.jar"), 503, "HTTP 503"),
        (format!("http://localhost:{}/job.jar", address.port()), 400, "libra.flink.artifacts.hosts"),
        ("https://169.254.169.254/latest/job.jar".to_owned(), 400, "libra.flink.artifacts.hosts"),
        ("s3://jobs/job.jar".to_owned(), 400, "libra.flink.artifacts.s3"),
    ] {
        spec["artifact_path"] = json!(object);
        let refused = api.post("/api/v1/deployments/plan", &spec).await;
        assert_eq!(refused.status, status, "{object}: {}", refused.text);
        assert!(refused.text.contains(says), "{object}: {}", refused.text);
    }
    let incoming = fs::read_dir(libra.data_dir().join("artifacts/incoming")).unwrap();
    assert_eq!(incoming.count(), 0, "nothing is left behind");
    spec["artifact_path"] = json!(format!("http://{address}/job.jar"));
    assert_eq!(apply(&api, &spec).await, "first-deploy");
    stable(&api, "fetched").await;
    assert_eq!(apply(&api, &spec).await, "none", "the same object");
    // Bytes that are pinned and are here need no server.
    spec["artifact_signature"] =
        json!(format!("sha256:{}", flink::digest(&flink::jobs_jar_version("object"))));
    spec["artifact_path"] = json!(format!("http://{address}/gone.jar"));
    assert_eq!(apply(&api, &spec).await, "none");
    away(&api, cluster, "fetched").await;
}
