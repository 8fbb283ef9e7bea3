//! Which Libra a command talks to, and how contexts are kept.

use super::*;
use crate::args::{Format, OutputArgs};

fn args(url: Option<&str>, context: Option<&str>) -> ConnectArgs {
    ConnectArgs {
        url: url.map(str::to_owned),
        context: context.map(str::to_owned),
        output: OutputArgs { output: Format::Table },
    }
}

fn kept(directory: &Path) -> Contexts {
    let key = directory.join("key");
    fs::write(&key, "the-key\n").unwrap();
    let context = |url: &str, token_file| Context { url: url.to_owned(), token_file };
    Contexts {
        current: Some("dev".into()),
        contexts: BTreeMap::from([
            ("dev".to_owned(), context("http://dev:8080", None)),
            ("prod".to_owned(), context("https://prod", Some(key))),
        ]),
    }
}

#[test]
fn the_command_line_comes_before_the_environment_before_the_context_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let ask = |args: &ConnectArgs, environment: &[(&str, &str)]| {
        let variable =
            |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        choose(args, variable, || Ok(kept(directory.path()))).map(|t| (t.url, t.token))
    };
    let is = |url: &str, token: Option<&str>| Ok((url.to_owned(), token.map(str::to_owned)));
    let everything = [("LIBRA_URL", "http://env"), ("LIBRA_CONTEXT", "prod"), ("LIBRA_TOKEN", "mine")];

    assert_eq!(ask(&args(Some("http://said"), None), &everything), is("http://said", Some("mine")));
    assert_eq!(ask(&args(None, Some("prod")), &everything), is("https://prod", Some("the-key")));
    assert_eq!(ask(&args(None, None), &everything), is("http://env", Some("mine")));
    assert_eq!(ask(&args(None, None), &everything[1..]), is("https://prod", Some("the-key")));
    assert_eq!(ask(&args(None, None), &everything[2..]), is("http://dev:8080", Some("mine")));
    assert_eq!(ask(&args(None, None), &[]), is("http://dev:8080", None));
}

#[test]
fn without_a_context_it_is_this_computer() {
    let target = choose(&args(None, None), |_| None, || Ok(Contexts::default())).unwrap();
    assert_eq!(target, Target { url: DEFAULT_URL.to_owned(), token: None });
}

#[test]
fn an_unknown_context_and_a_missing_key_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let ask = |name| choose(&args(None, Some(name)), |_| None, || Ok(kept(directory.path()))).unwrap_err();
    assert_eq!(
        ask("no\u{1b}pe").render(false),
        "error: there is no context no\\u{1b}pe\nhint: there are dev, prod\n"
    );

    let mut contexts = kept(directory.path());
    fs::remove_file(contexts.contexts["prod"].token_file.as_ref().unwrap()).unwrap();
    contexts.current = Some("prod".into());
    let missing = choose(&args(None, None), |_| Some("mine".to_owned()).filter(|_| false), || Ok(contexts));
    let said = missing.unwrap_err();
    assert!(said.message().contains("holds the key of context prod and can't be read"), "{said:?}");
    assert_eq!(said.hints(), ["`libra context set prod --token-file FILE` names another one"]);
}

#[test]
fn they_are_kept_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("deep").join("contexts.json");
    assert_eq!(Contexts::load(&file).unwrap(), Contexts::default());
    let contexts = kept(directory.path());
    contexts.save(&file).unwrap();
    contexts.save(&file).unwrap();
    assert_eq!(Contexts::load(&file).unwrap(), contexts);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let left: Vec<_> =
        fs::read_dir(file.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["contexts.json"]);

    fs::write(&file, "{").unwrap();
    assert!(Contexts::load(&file).unwrap_err().message().contains("is damaged"));
}

#[test]
fn names_and_addresses_are_checked() {
    for name in ["prod", "eu-west_1.b", "7"] {
        assert_eq!(check_name(name), Ok(()));
    }
    for name in ["", "-x", "a b", "é", "a/b", &"x".repeat(65)] {
        assert!(check_name(name).is_err(), "{name}");
    }
    for url in ["http://127.0.0.1:8080", "https://libra.example.com/base"] {
        assert_eq!(check_url(url), Ok(()));
    }
    for url in ["", "libra:8080", "http://", "http:///x", "ftp://x"] {
        assert!(check_url(url).is_err(), "{url}");
    }
}
