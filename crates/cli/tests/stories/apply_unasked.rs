//! What `libra apply`, `plan` and `delete` do where nobody can be asked, and where no Libra answers.

use std::process::Output;

use crate::surroundings::setup;

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

fn libra(arguments: &[&str]) -> Output {
    // Its standard input is no terminal.
    setup().env("LIBRA_URL", NOWHERE).run(arguments)
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn without_a_terminal_only_yes_applies_and_deletes() {
    // contract: D1
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.yaml"), "job_id: a\n").unwrap();
    let path = directory.path().to_str().unwrap();
    for arguments in [vec!["apply", "-f", path], vec!["delete", "a"]] {
        let unasked = libra(&arguments);
        assert_eq!(unasked.status.code(), Some(2), "{}", err(&unasked));
        assert!(err(&unasked).contains("hint: --yes says that"), "{}", err(&unasked));
        assert_eq!(unasked.stdout, b"");
        // With it the service is asked, which is not there.
        let asked = libra(&[arguments, vec!["--yes"]].concat());
        assert_eq!(asked.status.code(), Some(5), "{}", err(&asked));
    }
}

#[test]
fn an_exit_code_that_means_a_change_is_never_an_error() {
    // contract: D1
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.yaml");
    std::fs::write(&file, "job_id: a\n").unwrap();
    let path = file.to_str().unwrap();
    for (arguments, plain) in [
        (vec!["-f", path], 5),
        (vec!["-f", "/no/such.yaml"], 2),
        (vec!["-f", path, "--no-such-option"], 2),
        (vec![], 2),
    ] {
        let code = |more: &[&str]| libra(&[&["plan"], arguments.as_slice(), more].concat()).status.code();
        assert_eq!(code(&[]), Some(plain), "{arguments:?}");
        assert_eq!(code(&["--exit-code"]), Some(1), "{arguments:?}");
    }
    assert_eq!(libra(&["plan", "--exit-code", "--help"]).status.code(), Some(0));
}
