//! How texts fall into specifications, and which files are read.

use super::*;

/// Each document as it is sent.
fn sent(text: &str) -> Vec<String> {
    specifications("f", Some(Path::new("f.yaml")), text.to_owned()).iter().map(Specification::body).collect()
}

#[test]
fn a_text_falls_into_its_documents() {
    let table: &[(&str, &str, &[&str])] = &[
        ("one", "job_id: a\n", &["job_id: a\n"]),
        ("one without a line end", "job_id: a", &["job_id: a"]),
        ("one behind a marker", "---\njob_id: a\n", &["---\njob_id: a\n"]),
        ("two", "job_id: a\n---\njob_id: b\n", &["job_id: a\n", "\n---\njob_id: b\n"]),
        ("two, Windows", "job_id: a\r\n---\r\njob_id: b\r\n", &["job_id: a\r\n", "\n---\r\njob_id: b\r\n"]),
        ("a byte order mark", "\u{feff}job_id: a\n", &["job_id: a\n"]),
        (
            "on the marker's line",
            "--- {job_id: a}\n--- # second\njob_id: b\n",
            &["--- {job_id: a}\n", "\n--- # second\njob_id: b\n"],
        ),
        (
            "an end marker",
            "job_id: a\n...\n# next\n---\njob_id: b\n",
            &["job_id: a\n", "\n\n\n---\njob_id: b\n"],
        ),
        ("bare behind an end marker", "a: 1\n...\nb: 2\n", &["a: 1\n", "\n\nb: 2\n"]),
        ("a directive", "%YAML 1.2\n---\njob_id: a\n", &["\n---\njob_id: a\n"]),
        ("empty ones", "---\n\n---\n# nothing\n---\na: 1\n---\n", &["\n\n\n\n---\na: 1\n"]),
        (
            "inside of values",
            "sql: |\n  ---\n  ...\ndash: ----\n---x: 1\n",
            &["sql: |\n  ---\n  ...\ndash: ----\n---x: 1\n"],
        ),
        ("a letter of three bytes", "ü: 1\n日本: 2\n", &["ü: 1\n日本: 2\n"]),
        ("nothing", "", &[]),
        ("only comments", "# a\n  # b\n", &[]),
    ];
    for (name, text, documents) in table {
        assert_eq!(sent(text), *documents, "{name}");
    }
}

#[test]
fn a_line_number_is_that_of_the_file() {
    let text = "# orders\njob_id: a\n---\n\njob_id: b\njob_type: x\n";
    let body = sent(text).pop().unwrap();
    let line = |text: &str| text.lines().position(|line| line == "job_type: x");
    assert_eq!(line(&body), line(text));
}

#[test]
fn a_directory_is_read_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("b.yml", "job_id: b1\n---\njob_id: b2\n");
    write("a.json", "{\"job_id\": \"a\"}");
    write("c.YAML", "job_id: c\n");
    write("d.yaml", "# nothing yet\n");
    write(".hidden.yaml", "job_id: hidden\n");
    write("notes.txt", "not one\n");
    fs::create_dir(directory.path().join("deeper.yaml")).unwrap();
    let at = directory.path().display().to_string();
    let found = read(&[at.clone(), STDIN.to_owned()], "job_id: in\n".as_bytes()).unwrap();
    let places: Vec<_> = found
        .iter()
        .map(|s| s.place.replace(&at, "dir").replace('/', " ") + ": " + s.body().trim())
        .collect();
    assert_eq!(
        places,
        [
            "dir a.json: {\"job_id\": \"a\"}",
            "dir b.yml (document 1): job_id: b1",
            "dir b.yml (document 2): ---\njob_id: b2",
            "dir c.YAML: job_id: c",
            "standard input: job_id: in",
        ]
    );
    assert_eq!(found[0].notation, Notation::Json);
    assert_eq!(found[1].notation, Notation::Yaml);
}

#[test]
fn what_has_no_ending_is_told_by_its_text() {
    let notation = |text: &str| read(&[STDIN.to_owned()], text.as_bytes()).unwrap()[0].notation;
    assert_eq!(notation("{\"job_id\": \"a\"}\n"), Notation::Json);
    assert_eq!(notation("{job_id: a}\n"), Notation::Yaml);
    assert_eq!(notation("job_id: a\n"), Notation::Yaml);
}

#[test]
fn what_can_not_be_read_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    fs::write(at("bytes.yaml"), b"job_id: \xff\n").unwrap();
    fs::write(at("comments.yaml"), "# later\n").unwrap();
    fs::create_dir(at("empty")).unwrap();
    let large = "#".repeat(usize::try_from(MOST_BYTES).unwrap() + 1);
    let stdin = || STDIN.to_owned();
    for (sources, input, says) in [
        (vec![at("none.yaml")], "", "can't be read: No such file"),
        (vec![at("bytes.yaml")], "", "can't be read: stream did not contain valid UTF-8"),
        (vec![at("comments.yaml")], "", "there is no specification in"),
        (vec![at("empty")], "", "there is no specification in"),
        (vec![stdin()], "", "there is no specification in standard input"),
        (vec![stdin(), stdin()], "job_id: a", "only once"),
        (vec![stdin()], &large, "larger than 8388608 bytes"),
    ] {
        let failure = read(&sources, input.as_bytes()).unwrap_err();
        assert!(failure.message().contains(says), "{sources:?}: {failure:?}");
        assert_eq!(failure.exit(), crate::failure::Exit::Usage);
    }
}
