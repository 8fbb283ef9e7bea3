//! Answers as Slurm was seen to give them, and ones that it never would.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use libra_core::allocation::Allocation;
use libra_core::hpc::record::{ExitStatus, Record};
use libra_core::time::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};

use super::answer::Answer;
use super::error::Error;
use super::{Access, ApiVersion, Listing, Rest, Slurm, Submission};

fn listing(body: &str) -> Listing {
    Answer::read(200, body.as_bytes()).unwrap().listing().unwrap()
}

#[test]
fn a_name_in_another_encoding_hides_nobody() {
    let body = include_str!("fixtures/v38-ended.json");
    let name = body.find("\"name\": \"ok\"").unwrap() + "\"name\": \"".len();
    let mut bytes = body.as_bytes().to_vec();
    bytes.splice(name..name, *b"caf\xe9");
    let odd = Answer::read(200, &bytes).unwrap().listing().unwrap();
    let plain = listing(body);
    assert_eq!((odd.records.len(), odd.skipped), (plain.records.len(), 0));
    let names = odd.records.iter().filter_map(|record| record.name.as_deref());
    assert_eq!(names.filter(|name| name.starts_with("caf\u{fffd}")).count(), 1);
}

/// One line for each job, without what it does not say.
fn lines(body: &str) -> String {
    let listing = listing(body);
    assert_eq!(listing.skipped, 0);
    let line = |record: &Record| {
        let Value::Object(mut all) = serde_json::to_value(record).unwrap() else {
            panic!("a record is an object")
        };
        for part in all.values_mut() {
            if let Value::Object(part) = part {
                part.retain(|_, value| !value.is_null());
            }
        }
        all.retain(|_, value| ![json!(null), json!([]), json!({})].contains(value));
        Value::Object(all).to_string()
    };
    listing.records.iter().map(line).collect::<Vec<_>>().join("\n")
}

macro_rules! recorded {
    ($($name:ident: $file:literal),* $(,)?) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(lines(include_str!(concat!("fixtures/", $file))));
        })*
    };
}

recorded! {
    // Ok, exit 3, cancelled, out of time, signal 9 …, a job of two nodes, an array.
    v38_jobs_that_ended: "v38-ended.json",
    // Waiting for its time, arrays of which no task has begun, one put back into the queue, one held.
    v38_jobs_that_wait: "v38-waiting.json",
    // Slurm counts GPUs in its texts only where a site has told it to.
    v38_jobs_with_gpus: "v38-gpus.json",
    v38_a_job_that_runs: "v38-running.json",
    v40_a_job_that_failed: "v40-failed.json",
    v41_a_job_that_failed: "v41-failed.json",
    v42_a_cancelled_job: "v42-cancelled.json",
    v42_jobs: "v42-jobs.json",
    // Exit code 0 of everything that failed.
    v38_accounting: "db38-jobs.json",
    v38_accounting_of_two_nodes: "db38-nodes.json",
}

#[test]
fn a_job_is_the_same_in_every_version() {
    let one = |body: &str| listing(body).records.remove(0);
    let (old, middle) =
        (one(include_str!("fixtures/v40-failed.json")), one(include_str!("fixtures/v41-failed.json")));
    assert_eq!(old, middle);
    let all = listing(include_str!("fixtures/v42-jobs.json")).records;
    assert_eq!(all.first(), Some(&old));
    assert_eq!(old.exit, Some(ExitStatus { code: 3, signal: 0 }));
}

#[test]
fn accounting_of_newer_versions_is_read() {
    // As the schema of v0.0.42 has it.
    let set = |number: u64| json!({"set": true, "infinite": false, "number": number});
    let body = json!({"errors": [], "warnings": [], "jobs": [{
        "job_id": 7, "cluster": "main", "name": "train", "user": "ada", "account": "lab", "partition": "gpu", "qos": "normal",
        "nodes": "n[1-2]", "allocation_nodes": 2, "priority": set(5), "restart_cnt": 1, "comment": {"job": "token"},
        "state": {"current": ["OUT_OF_MEMORY"], "reason": "OutOfMemory"},
        "time": {"submission": 100, "start": 200, "end": 300, "limit": set(10), "elapsed": 100},
        "exit_code": {"status": ["SIGNALED"], "return_code": {"set": false, "infinite": false, "number": 0},
            "signal": {"id": set(125), "name": ""}},
        "array": {"job_id": 7, "task_id": set(3)}, "het": {"job_id": 0, "job_offset": {"set": false}},
        "required": {"CPUs": 2}, "tres": {"allocated": [{"type": "cpu", "count": 2}, {"type": "gres", "name": "gpu", "count": 4}]},
        "stdout_expanded": "/home/ada/7.out", "working_directory": "/home/ada"
    }]});
    insta::assert_snapshot!(lines(&body.to_string()));
}

#[test]
fn a_job_that_can_t_be_read_does_not_hide_the_others() {
    let body = json!({"jobs": [
        3, null, "job", {}, [1, {"job_id": 4}], true, -1, 1.5, {"job_id": 1}, {"job_state": "RUNNING"}, {"job_id": "x", "job_state": "RUNNING"},
        {"job_id": 2, "job_state": ["RUNNING", "SOMETHING_NEW"], "start_time": 5, "nodes": {"odd": 1}, "cpus": -1},
        {"job_id": {"set": true, "number": 3}, "job_state": "TELEPORTED", "start_time": 5, "end_time": 6, "exit_code": 0},
    ], "meta": 3, "errors": null});
    let listing = listing(&body.to_string());
    assert_eq!(listing.skipped, 11);
    let ids: Vec<&str> = listing.records.iter().map(|record| record.external_id.as_str()).collect();
    assert_eq!(ids, ["2", "3"]);
    assert_eq!(listing.records[0].started, Some(Timestamp(5_000_000)));
    let unknown = &listing.records[1];
    assert_eq!(
        (unknown.started, unknown.ended, unknown.exit),
        (None, None, None),
        "an unknown state is no end"
    );
}

#[test]
fn names_are_looked_up_in_order() {
    assert!(super::answer::READ.is_sorted());
}

#[test]
fn an_empty_list_beside_an_error_is_no_empty_list() {
    // squeue --json says this of a slurmctld that is dead, and slurmrestd says it with status 500.
    let body =
        br#"{"meta": {}, "errors": [{"description": "Failed while looking for jobs", "error_number": -1,
        "error": "Unspecified error", "source": "slurm_load_jobs"}], "jobs": []}"#;
    for status in [200, 500] {
        assert!(matches!(Answer::read(status, body), Err(Error::ControllerAway(_))), "{status}");
    }
    assert!(
        matches!(Answer::read(200, b"{}").unwrap().listing(), Err(Error::Garbage(_))),
        "no list is not empty"
    );
    assert!(matches!(Answer::read(200, br#"{"jobs": null}"#).unwrap().listing(), Err(Error::Garbage(_))));
    assert_eq!(Answer::read(200, br#"{"jobs": []}"#).unwrap().listing(), Ok(Listing::default()));
}

#[test]
fn answers_that_bring_nothing_say_why() {
    let unknown = include_bytes!("fixtures/v42-notfound.json");
    for status in [200, 404, 500] {
        assert_eq!(Answer::read(status, unknown).unwrap_err(), Error::UnknownJob, "{status}");
    }
    let read = |status: u16, body: &str| Answer::read(status, body.as_bytes()).unwrap_err();
    assert_eq!(read(401, "Authentication failure"), Error::Unauthorised("Authentication failure".to_owned()));
    assert!(matches!(read(403, "{}"), Error::Unauthorised(_)));
    assert!(matches!(read(400, "Unable to parse query."), Error::Refused(_)));
    assert!(matches!(read(502, "<html>bad gateway</html>"), Error::Failed(_)));
    assert!(matches!(read(500, "{}"), Error::Failed(_)));
    assert!(matches!(read(200, "<html>welcome</html>"), Error::Garbage(_)));
    assert!(matches!(read(200, r#"{"jobs": [{"job_id": 1, "#), Error::Garbage(_)));
}

#[test]
fn a_warning_beside_a_number_is_no_refusal() {
    let body = br#"{"errors": [{"error_code": 2068, "error": "Required node not available (down, drained or reserved)"}],
        "job_id": 3, "step_id": "BATCH", "job_submit_user_msg": ""}"#;
    assert_eq!(Answer::read(200, body).unwrap().job_id, Some(3));
    assert!(matches!(Answer::read(500, body), Err(Error::Refused(_))));
    // As v0.0.40 says it.
    let body = br#"{"result": {"job_id": 4, "error_code": 0}, "errors": [], "warnings": []}"#;
    assert_eq!(Answer::read(200, body).unwrap().job_id, Some(4));
}

fn submission() -> Submission {
    let text = |text: &str| Some(text.to_owned());
    Submission {
        script: "#!/bin/sh\nexit 3\n".to_owned(),
        arguments: vec!["a b".to_owned(), "it's $x".to_owned(), String::new()],
        token: "libra-1".to_owned(),
        name: text("train"),
        environment: [("A".to_owned(), "b c,d".to_owned())].into(),
        asked: Allocation {
            constraint: text("a100"),
            reservation: text("night"),
            requeue: Some(true),
            partition: text("debug"),
            account: text("lab"),
            qos: text("normal"),
            time_limit_minutes: Some(5),
            nodes: Some(2),
            max_nodes: Some(4),
            tasks: Some(4),
            tasks_per_node: Some(2),
            cpus_per_task: Some(2),
            memory_mb: Some(100),
            gpus: Some(1),
            gpus_per_node: text("a100:1"),
            gres: text("shard:2"),
            array: text("0-3%2"),
            dependency: text("afterok:17"),
            nodelist: text("n[1-2]"),
            exclude: text("n9"),
            exclusive: text("true"),
            open_mode: text("truncate"),
            comment: text("a trial"),
            mail_type: text("END,TIME_LIMIT_80"),
            mail_user: text("ada@site"),
            signal: text("USR1@120"),
            directory: text("/home/ada"),
            stdout: text("%j.out"),
            ..Allocation::default()
        },
    }
}

#[test]
fn each_door_is_told_in_its_own_words() {
    let body = |version| serde_json::to_string_pretty(&submission().body(version)).unwrap();
    insta::assert_snapshot!("submission_v38", body(ApiVersion::V38));
    insta::assert_snapshot!("submission_v42", body(ApiVersion::V42));
    insta::assert_snapshot!("submission_sbatch", submission().options().join("\n"));
    let bare = Submission {
        script: "#!/bin/sh\n".to_owned(),
        token: "t".to_owned(),
        asked: Allocation { directory: Some("/".to_owned()), ..Allocation::default() },
        ..Submission::default()
    };
    insta::assert_snapshot!("submission_bare", bare.body(ApiVersion::V38).to_string());
}

#[test]
fn what_no_cluster_would_take_is_refused_here() {
    assert_eq!(submission().check(), Ok(()));
    let with = |change: fn(&mut Submission)| {
        let mut changed = submission();
        change(&mut changed);
        changed.check().unwrap_err()
    };
    let wrongs = [
        with(|s| s.script = "exit 3".to_owned()),
        with(|s| s.script = "#!/bin/sh\n# first\n#SBATCH --account=rich\nexit".to_owned()),
        with(|s| s.script = "#!/bin/sh\r\nexit".to_owned()),
        with(|s| s.script = format!("#!/bin/sh\n{}", " ".repeat(super::MOST_SCRIPT_BYTES))),
        with(|s| s.token = "a b".to_owned()),
        with(|s| s.token = String::new()),
        with(|s| s.asked.directory = Some("home".to_owned())),
        with(|s| s.asked.array = Some("0-3 --uid=0".to_owned())),
        with(|s| s.name = Some("a\nb".to_owned())),
        with(|s| s.asked.partition = Some(String::new())),
        with(|s| s.asked.memory_per_cpu_mb = Some(1)),
        with(|s| s.arguments.push("a\0b".to_owned())),
        with(|s| drop(s.environment.insert("A=B".to_owned(), String::new()))),
        with(|s| drop(s.environment.insert("1A".to_owned(), String::new()))),
        with(|s| drop(s.environment.insert("SBATCH_ACCOUNT".to_owned(), "rich".to_owned()))),
        with(|s| drop(s.environment.insert("A".to_owned(), "\0".to_owned()))),
    ];
    for wrong in wrongs {
        assert!(wrong.words.len() < 200, "{wrong:?}");
    }
    let late = Submission { script: "#!/bin/sh\necho\n#SBATCH --x\n".to_owned(), ..submission() };
    assert_eq!(late.check(), Ok(()), "sbatch does not read on after the first command");
}

#[test]
fn a_script_that_brings_its_arguments_is_called_with_them_in_its_own_place() {
    let mut asked = submission();
    asked.arguments = ["a b", "it's", "$x", "", "two\nlines", "--help", ":"].map(str::to_owned).to_vec();
    asked.script =
        "#!/bin/bash\n# \u{e9}\nfor word; do echo \"[$word]\"; done; echo \"$0\"; cat \"$0\"\n\n\n"
            .to_owned();
    let body = asked.body(ApiVersion::V38);
    let dir = std::env::temp_dir().join(format!("libra-slurm-{}-arguments", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("slurm_script");
    std::fs::write(&file, body["script"].as_str().unwrap()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700)).unwrap();
    let words = "[a b]\n[it's]\n[$x]\n[]\n[two\nlines]\n[--help]\n[:]\n";
    let wanted = format!("{words}{}\n{}", file.display(), asked.script);
    let out = std::process::Command::new(&file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), wanted, "{out:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), asked.script);
    std::fs::remove_dir_all(dir).unwrap();
    assert!(body["job"].get("argv").is_none(), "slurmrestd of 22.05 dies of it");
    asked.arguments.clear();
    assert_eq!(asked.body(ApiVersion::V38)["script"], asked.script);
}

#[test]
fn what_a_version_of_slurmrestd_does_not_take_is_said() {
    let mut asked = submission();
    assert_eq!(asked.beyond(ApiVersion::V38), None);
    asked.asked.signal = Some("B:USR1@120".to_owned());
    assert!(asked.beyond(ApiVersion::V38).is_some_and(|words| words.contains("sbatch: always")));
    assert_eq!(asked.beyond(ApiVersion::V39), None);
}

/// A server that answers a path with what `answers` makes of it and of the number of the request.
async fn server(answers: fn(usize, &str) -> (u16, &'static str)) -> (Rest, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0_u8; 4096];
            let length = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let (status, body) = answers(counted.fetch_add(1, Ordering::SeqCst), &path);
            let text = format!(
                "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(text.as_bytes()).await.unwrap();
        }
    });
    (Rest::new(&Access { url: format!("http://{address}"), ..Access::default() }).unwrap(), count)
}

const NO_PATH: (u16, &str) = (404, "Unable find requested URL.");

#[tokio::test]
async fn the_newest_version_of_both_is_found_once_and_found_again() {
    let (rest, count) = server(|number, path| {
        // After five requests somebody has put an older Slurm in its place.
        let known = if number < 5 { "v0.0.40" } else { "v0.0.39" };
        if path.contains(known) { (200, r#"{"jobs": [], "statistics": {"req_time": 7}}"#) } else { NO_PATH }
    })
    .await;
    assert_eq!(rest.version().await, Ok(ApiVersion::V40));
    assert_eq!(count.load(Ordering::SeqCst), 3, "42, 41, 40");
    let slurm = Slurm::Rest(rest.clone());
    assert_eq!(slurm.look(None).await.unwrap().mark, Some(Timestamp(7_000_000)));
    assert_eq!(count.load(Ordering::SeqCst), 5);
    assert_eq!(slurm.look(None).await.unwrap().jobs, Some(Listing::default()));
    assert_eq!(rest.version().await, Ok(ApiVersion::V39));
    assert!(matches!(slurm.accounted(&["x".to_owned()]).await, Err(Error::UnknownJob)));
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent() {
    let (rest, _) = server(|_, path| match path {
        "/slurm/v0.0.42/jobs?update_time=7" => (304, ""),
        "/slurm/v0.0.42/diag" => {
            (200, r#"{"statistics": {"req_time": {"set": true, "number": 9}, "server_thread_count": 3}}"#)
        }
        "/slurm/v0.0.42/ping" => (200, "{}"),
        _ => NO_PATH,
    })
    .await;
    let look = Slurm::Rest(rest).look(Some(Timestamp(7_000_000))).await.unwrap();
    assert_eq!((look.jobs, look.mark, look.load.threads), (None, Some(Timestamp(9_000_000)), Some(3)));
}

#[tokio::test]
async fn who_has_no_version_or_no_accounting_is_told_so() {
    let (rest, _) = server(|_, _| NO_PATH).await;
    assert_eq!(rest.version().await, Err(Error::NoVersion));
    let (rest, _) = server(|_, _| (401, "Authentication failure")).await;
    assert!(matches!(rest.version().await, Err(Error::Unauthorised(_))));
    let (rest, _) =
        server(|_, path| if path.starts_with("/slurm/v0.0.38/") { (200, "{}") } else { NO_PATH }).await;
    let asked = Slurm::Rest(rest).accounted_between(Timestamp(0), Timestamp(1)).await;
    assert!(matches!(asked, Err(Error::NoAccounting(_))));
}

#[tokio::test]
async fn a_socket_is_as_good_as_an_address() {
    let path = std::env::temp_dir().join(format!("libra-slurm-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0_u8; 4096];
            let length = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            let right = head.starts_with("GET /slurm/v0.0.41/ping ") && !head.contains("x-slurm-user-token");
            let status = if right { 200 } else { 400 };
            let text = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}");
            stream.write_all(text.as_bytes()).await.unwrap();
        }
    });
    let url = format!("unix:{}", path.display());
    let access = Access { url, version: Some(ApiVersion::V41), ..Access::default() };
    assert_eq!(Slurm::Rest(Rest::new(&access).unwrap()).ping().await, Ok(()));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn an_address_that_is_none_is_refused_with_a_hint() {
    let of = |url: &str| Rest::new(&Access { url: url.to_owned(), ..Access::default() });
    for wrong in ["", "slurm", "ftp://slurm", "http://"] {
        assert!(of(wrong).unwrap_err().contains("hint: "), "{wrong}");
    }
    for right in ["http://head:6820/", "https://head/slurm", "unix:/run/rest.sock"] {
        assert!(of(right).is_ok(), "{right}");
    }
}
