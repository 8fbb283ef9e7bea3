use std::path::PathBuf;

use super::*;

fn normal(rest: &str) -> Normal {
    let text = format!(r#"{{"job_id": "etl", "job_type": "stream", {rest}}}"#);
    Normal::of(&serde_json::from_str(&text).unwrap(), None)
}

/// What the jar's manifest says of its sources; lines go on after a blank.
fn sources_of_the_jar() -> String {
    let text = String::from_utf8_lossy(RUNNER).replace("\r\n ", "");
    let at = text.find("Libra-Sources: ").unwrap() + "Libra-Sources: ".len();
    text[at..at + 64].to_owned()
}

#[test]
fn the_jar_was_built_from_the_sources_in_the_tree() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/flink-runner/libra/flink/Sql.java");
    let is = hex(&Sha256::digest(fs::read(source).unwrap()));
    assert_eq!(
        sources_of_the_jar(),
        is,
        "Sql.java was changed since: run scripts/flink-runner.sh and commit the jar"
    );
}

#[test]
fn flink_is_told_what_to_run() {
    let place = Place { jar: "u_ab.jar", uploads: Some("/up"), python: Some("/opt/python"), no_code: false };
    let of = |rest: &str| told(&normal(rest), "0a", &place).unwrap();
    let sql = of(r#""sql": "SET 'a' = 'b'; INSERT INTO a SELECT 1""#);
    assert_eq!(
        sql,
        Told { args: vec!["SET 'a' = 'b'".into(), "INSERT INTO a SELECT 1".into()], ..Told::default() }
    );
    let own = of(r#""sql": "SELECT 1", "artifact_path": "a.jar", "entry_class": "a.B", "args": ["x"]"#);
    assert_eq!((own.entry_class.as_deref(), own.args), (Some("a.B"), vec!["x".into(), "SELECT 1".into()]));
    assert_eq!(of(r#""artifact_path": "a.sql""#), Told::default(), "they are in the jar");
    let python = of(r#""artifact_path": "b/a.py", "args": ["-py", "x y"]"#);
    assert_eq!(python.entry_class.as_deref(), Some(PYTHON_DRIVER));
    assert_eq!(python.args[..2], ["-pym", "libra_main"]);
    let order: serde_json::Value = serde_json::from_str(&python.args[2]).unwrap();
    assert_eq!(order, json!({"script": "a.py", "module": null, "args": ["-py", "x y"], "run": "0a"}));
    assert_eq!(python.settings["python.files"], "/up/u_ab.jar");
    assert_eq!(python.settings["python.client.executable"], "/opt/python");
    let plain = normal(r#""artifact_path": "a.zip", "entry_class": "jobs.main""#);
    assert_eq!(
        told(&plain, "0a", &Place { python: None, ..place }).unwrap().settings.len(),
        2,
        "the cluster's own Python"
    );
    let nowhere = Place { uploads: None, ..place };
    assert!(told(&plain, "0a", &nowhere).unwrap_err().contains("web.upload.dir"));
    let strict = Place { no_code: true, ..place };
    let args = |rest: &str| told(&normal(rest), "0a", &strict).unwrap().args;
    assert_eq!(args(r#""sql": "INSERT INTO a SELECT 1""#), ["--no-code", "INSERT INTO a SELECT 1"]);
    assert_eq!(args(r#""sql": "SELECT 1", "artifact_path": "a.jar", "entry_class": "a.B""#), ["SELECT 1"]);
    assert_eq!(args(r#""artifact_path": "a.sql""#), [""; 0], "it is signed");
}

#[test]
fn what_can_be_no_program_is_told_with_its_field() {
    let dir = tempfile::tempdir().unwrap();
    let file = |bytes: &[u8]| -> PathBuf {
        let path = dir.path().join("program");
        fs::write(&path, bytes).unwrap();
        path
    };
    let mut archive = Vec::new();
    let none: Option<&mut Cursor<Vec<u8>>> = None;
    zip::add(none, &[("jobs/main.py", b"x"), ("tool/__main__.py", b"x")], &mut archive).unwrap();
    let nothing = ("", "");
    for (packing, bytes, module, (field, says)) in [
        (Packing::Statements, b"INSERT INTO a SELECT 1;".as_slice(), None, nothing),
        (Packing::Statements, b" -- nothing\n;", None, ("/artifact_path", "at least one")),
        (Packing::Statements, b"SET 'a' = 'b'; SELECT 1", None, ("/artifact_path", "statement 2")),
        (Packing::Statements, b"\xff\xfe", None, ("/artifact_path", "UTF-8")),
        (Packing::Statements, b"INSERT \0", None, ("/artifact_path", "no text")),
        (Packing::Python, b"print(1)\n", None, nothing),
        (Packing::Python, b" \n", None, ("/artifact_path", "empty")),
        (Packing::Python, b"\x7fELF\0\0", None, ("/artifact_path", "no Python program")),
        (Packing::Python, b"print(1)\n", Some("jobs.main"), ("/entry_class", "leave it out")),
        (Packing::Python, &archive, Some("jobs.main"), nothing),
        (Packing::Python, &archive, Some("tool"), nothing),
        (Packing::Python, &archive, None, ("/entry_class", "is needed")),
        (Packing::Python, &archive, Some("jobs.other"), ("/entry_class", "jobs/other.py")),
        (Packing::Python, &archive[..40], Some("jobs.main"), ("/artifact_path", "no whole ZIP")),
    ] {
        let found = look(packing, &file(bytes), module).unwrap().unwrap_or_default();
        assert!(found.0 == field && found.1.contains(says), "{bytes:?}: {found:?}");
    }
}

#[test]
fn the_same_program_is_the_same_jar_with_what_begins_it() {
    let dir = tempfile::tempdir().unwrap();
    let (file, first, second) = (dir.path().join("in"), dir.path().join("a"), dir.path().join("b"));
    let mut archive = Vec::new();
    let none: Option<&mut Cursor<Vec<u8>>> = None;
    zip::add(none, &[("jobs/main.py", b"x")], &mut archive).unwrap();
    for (packing, bytes, name) in [
        (Packing::Statements, b"INSERT INTO a SELECT 1; INSERT INTO b SELECT 2".as_slice(), STATEMENTS_NAME),
        (Packing::Python, b"print(1)\n", PROGRAM_NAME),
        (Packing::Python, &archive, "jobs/main.py"),
    ] {
        fs::write(&file, bytes).unwrap();
        pack(packing, &file, &first).unwrap();
        pack(packing, &file, &second).unwrap();
        assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());
        let names = zip::Directory::read(&mut File::open(&first).unwrap()).unwrap().names();
        assert!(names.iter().any(|found| found == name), "{names:?}");
        let runner = if packing == Packing::Python { MAIN_NAME } else { "libra/flink/Sql.class" };
        assert!(names.iter().any(|found| found == runner), "{names:?}");
    }
}
