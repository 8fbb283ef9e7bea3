//! From the options of `libra submit` to the request.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use libra_api::submit::{RetryPolicyRequest, SubmitRequest, kind_of_file};
use libra_core::spec::{Kind, MAX_CODE_BYTES};

use crate::args::{SessionMode, SubmitArgs};
use crate::failure::Failure;

/// The request that `args` ask for. Files are read, and paths made absolute, where that is needed.
pub(crate) fn request(args: &SubmitArgs) -> Result<SubmitRequest, Failure> {
    let same_host = is_loopback(&args.connect.url);
    let mut request = SubmitRequest {
        kind: args.kind.clone(),
        name: args.name.clone(),
        class_name: args.class.clone(),
        args: args.args.clone(),
        execution_mode: args.mode.clone(),
        spark_config: pairs("--conf", &args.conf)?,
        priority: args.priority,
        timeout_minutes: args.timeout_minutes,
        queue_timeout_minutes: args.queue_timeout_minutes,
        queue: args.queue.clone(),
        cluster: args.cluster.clone(),
        labels: pairs("--label", &args.label)?,
        env: pairs("--env", &args.env)?,
        jars: paths(&args.jars, same_host),
        py_files: paths(&args.py_files, same_host),
        files: paths(&args.files, same_host),
        archives: paths(&args.archives, same_host),
        packages: args.packages.clone(),
        proxy_user: args.proxy_user.clone(),
        ..SubmitRequest::default()
    };
    request.session_mode = args.session.map(|session| match session {
        SessionMode::Isolated => "ISOLATED".to_owned(),
        SessionMode::Shared => "SHARED".to_owned(),
    });
    if args.max_retries.is_some() || !args.retry_on.is_empty() {
        request.retry_policy = Some(RetryPolicyRequest {
            max_retries: args.max_retries,
            retry_on: args.retry_on.clone(),
            ..RetryPolicyRequest::default()
        });
    }
    if let Some(sql) = &args.sql {
        (request.code, request.kind) = (Some(text_or_stdin(sql)?), Some("sql".to_owned()));
    } else if let Some(python) = &args.python {
        (request.code, request.kind) = (Some(text_or_stdin(python)?), Some("python".to_owned()));
    } else if let Some(file) = &args.file {
        program(&mut request, file, same_host)?;
    }
    Ok(request)
}

/// A program file: SQL travels as its text. Other programs are read by the driver where it runs on this host;
/// else Python travels as its text as well.
fn program(request: &mut SubmitRequest, file: &str, same_host: bool) -> Result<(), Failure> {
    if file.contains("://") {
        request.file = Some(file.to_owned());
        return Ok(());
    }
    let kind = request.kind.as_deref().and_then(Kind::parse).or_else(|| kind_of_file(file));
    let as_text = match kind {
        Some(Kind::Sql) => true,
        Some(Kind::Python) => !same_host,
        Some(Kind::Scala | Kind::Jar) | None => false,
    };
    let about = |e: std::io::Error| Failure::usage(format!("the file `{file}` can't be read: {e}"));
    if as_text {
        if !request.args.is_empty() {
            return Err(Failure::usage(format!("`{file}` is sent as its text, which takes no arguments"))
                .hint("put the file where the driver can read it, and give its address, such as s3a://…"));
        }
        let size = fs::metadata(file).map_err(about)?.len();
        if size > MAX_CODE_BYTES as u64 {
            return Err(Failure::usage(format!(
                "the file `{file}` is {size} bytes long; at most {MAX_CODE_BYTES} are taken"
            )));
        }
        request.code = Some(fs::read_to_string(file).map_err(about)?);
        request.kind = kind.map(|kind| kind.as_str().to_owned());
        return Ok(());
    }
    if same_host {
        if !fs::metadata(file).map_err(about)?.is_file() {
            return Err(Failure::usage(format!("`{file}` is not a file")));
        }
        request.file = Some(std::path::absolute(file).map_err(about)?.display().to_string());
        return Ok(());
    }
    Err(Failure::usage(format!("Libra runs on another host, where `{file}` can't be read"))
        .hint("put the file where the driver can read it, and give its address, such as s3a://…"))
}

/// Local files by their absolute paths: the driver runs in a directory of its own.
fn paths(given: &[String], same_host: bool) -> Vec<String> {
    let absolute = |path: &String| {
        let local = same_host && !path.contains("://") && Path::new(path).exists();
        let found = local.then(|| std::path::absolute(path).ok()).flatten();
        found.map_or_else(|| path.clone(), |p| p.display().to_string())
    };
    given.iter().map(absolute).collect()
}

fn text_or_stdin(text: &str) -> Result<String, Failure> {
    if text != "-" {
        return Ok(text.to_owned());
    }
    let mut read = String::new();
    // One byte more than is taken, so that the service sees, and says, that it is too much.
    let most = u64::try_from(MAX_CODE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    std::io::stdin()
        .take(most)
        .read_to_string(&mut read)
        .map_err(|e| Failure::usage(format!("standard input can't be read: {e}")))?;
    Ok(read)
}

fn pairs(option: &str, given: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut found = BTreeMap::new();
    for text in given {
        let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Failure::usage(format!("{option} takes KEY=VALUE, not `{text}`")));
        };
        if found.insert(key.to_owned(), value.to_owned()).is_some_and(|before| before != value) {
            return Err(Failure::usage(format!("{option} gives two values for `{key}`")));
        }
    }
    Ok(found)
}

/// True when `url` leads to this very host.
fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host_and_port.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host_and_port.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, ClientCommand, Command};
    use clap::Parser;

    fn build(words: &[&str]) -> Result<SubmitRequest, Failure> {
        let line = ["libra", "submit"].iter().chain(words);
        let Command::Client(ClientCommand::Submit(args)) = Cli::try_parse_from(line).unwrap().command else {
            panic!("a submission")
        };
        request(&args)
    }

    const FAR: &str = "--url=http://libra.example:8080";

    #[test]
    fn every_option_reaches_its_field() {
        let request = build(&[
            "--sql=SELECT 1",
            "--mode=in-cluster",
            "--conf=spark.a=b=c",
            "--conf=spark.d=",
            "--name=n",
            "--priority=9",
            "--label=team=data",
            "--env=A=b",
            "--queue=q",
            "--cluster=c",
            "--session=shared",
            "--timeout-minutes=5",
            "--queue-timeout-minutes=0",
            "--max-retries=2",
            "--retry-on=user,infrastructure",
            "--py-files=s3a://x/a.zip,b.py",
            "--jars=x.jar",
            "--files=f",
            "--archives=a",
            "--packages=g:n:1",
            "--proxy-user=u",
            "--class=C",
        ])
        .unwrap();
        insta::assert_snapshot!("request", serde_json::to_string_pretty(&request).unwrap());
        libra_api::submit::parse(&serde_json::to_value(&request).unwrap()).unwrap();
    }

    #[test]
    fn programs_travel_as_text_or_by_path() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let (py, sql, bad) =
            (write("a.py", b"print(1)"), write("a.SQL", b"SELECT 1"), write("b.sql", b"\xff"));
        let near = build(&[&py, "--", "--day", "1"]).unwrap();
        assert_eq!(
            (near.file.as_deref(), near.code, near.args),
            (Some(py.as_str()), None, vec!["--day".into(), "1".into()])
        );
        let far = build(&[&py, FAR]).unwrap();
        assert_eq!(
            (far.file, far.code.as_deref(), far.kind.as_deref()),
            (None, Some("print(1)"), Some("python"))
        );
        for place in [FAR, "--url=http://localhost:1"] {
            let text = build(&[&sql, place]).unwrap();
            assert_eq!((text.code.as_deref(), text.kind.as_deref()), (Some("SELECT 1"), Some("sql")));
        }
        assert_eq!(
            build(&["s3a://b/x.py", "--kind=python", FAR]).unwrap().file.as_deref(),
            Some("s3a://b/x.py")
        );
        for (words, says) in [
            (vec![py.as_str(), FAR, "--", "x"], "takes no arguments"),
            (vec!["/no/such.py"], "can't be read"),
            (vec!["/no/such.sql"], "can't be read"),
            (vec![bad.as_str()], "can't be read"),
            (vec!["app.jar", FAR], "another host"),
            (vec!["--sql=x", "--conf=a"], "KEY=VALUE"),
            (vec!["--sql=x", "--label=a=1", "--label=a=2"], "two values"),
        ] {
            let text = build(&words).unwrap_err().render(false);
            assert!(text.contains(says), "{words:?}: {text}");
        }
    }

    #[test]
    fn one_program_and_only_one() {
        for words in [vec![], vec!["a.py", "--sql=x"], vec!["--sql=x", "--python=y"]] {
            assert!(Cli::try_parse_from(["libra", "submit"].iter().chain(&words)).is_err(), "{words:?}");
        }
    }

    #[test]
    fn this_host_is_told_from_others() {
        for url in [
            "http://127.0.0.1:8080",
            "localhost:8080",
            "http://LOCALHOST/x",
            "https://[::1]:1/",
            "http://u@127.9.9.9",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in
            ["http://libra.example", "http://10.0.0.1:8080", "http://127.0.0.1.example", "http://[::2]", ""]
        {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
