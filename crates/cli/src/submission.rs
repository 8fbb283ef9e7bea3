//! From the options of `libra submit` to the request.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;

use libra_api::allocation::SlurmRequest;
use libra_api::submit::{RetryPolicyRequest, SubmitRequest, kind_of_file};
use libra_core::allocation::OPTIONS;
use libra_core::allocation::syntax::Form;
use libra_core::spec::{Kind, MAX_CODE_BYTES};

use serde_json::Value;

use crate::args::{SessionMode, SubmitArgs};
use crate::failure::Failure;
use crate::uploads::{Uploads, has_scheme};

/// The request that `args` ask for, and the local files that have to be sent before it.
pub(crate) fn request(args: &SubmitArgs) -> Result<(SubmitRequest, Uploads), Failure> {
    let mut uploads = Uploads::default();
    let mut names = |given: &[String], with_directory: bool| {
        given.iter().map(|path| uploads.name(path, with_directory)).collect::<Result<Vec<_>, _>>()
    };
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
        jars: names(&args.jars, false)?,
        py_files: names(&args.py_files, false)?,
        files: names(&args.files, false)?,
        archives: names(&args.archives, true)?,
        packages: args.packages.clone(),
        proxy_user: args.proxy_user.clone(),
        slurm: slurm(&args.slurm)?,
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
        program(&mut request, file, &mut uploads)?;
    }
    Ok((request, uploads))
}

/// A program file: SQL travels as its text, and so may run in the shared Spark, and so do scripts; other programs are
/// uploaded.
fn program(request: &mut SubmitRequest, file: &str, uploads: &mut Uploads) -> Result<(), Failure> {
    let kind = request.kind.as_deref().and_then(Kind::parse).or_else(|| kind_of_file(file));
    let as_text = kind.filter(|kind| matches!(kind, Kind::Sql | Kind::Script) && !has_scheme(file));
    let Some(kind) = as_text else {
        request.file = Some(uploads.name(file, false)?);
        return Ok(());
    };
    let about = |e: std::io::Error| Failure::usage(format!("the file `{file}` can't be read: {e}"));
    if !request.args.is_empty() && kind != Kind::Script {
        return Err(Failure::usage(format!("`{file}` is sent as its text, which takes no arguments")));
    }
    let size = fs::metadata(file).map_err(about)?.len();
    if size > MAX_CODE_BYTES as u64 {
        return Err(Failure::usage(format!(
            "the file `{file}` is {size} bytes long; at most {MAX_CODE_BYTES} are taken"
        )));
    }
    request.code = Some(fs::read_to_string(file).map_err(about)?);
    request.kind = Some(kind.as_str().to_owned());
    Ok(())
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

/// `--slurm memory-mb=100` is the field `memoryMb`. How a text is written is for the service to judge.
fn slurm(given: &[String]) -> Result<Option<SlurmRequest>, Failure> {
    let pairs = pairs("--slurm", given)?;
    if pairs.is_empty() {
        return Ok(None);
    }
    let mut map = serde_json::Map::new();
    for (key, value) in pairs {
        let Some(option) = OPTIONS.iter().find(|option| spelled(option.name) == key) else {
            return Err(Failure::usage(format!("--slurm knows no `{key}`; see `libra submit --help`")));
        };
        let wrong = |wanted: &str| Failure::usage(format!("--slurm {key} takes {wanted}, not `{value}`"));
        let value = match option.syntax.form() {
            Form::Text(_) | Form::Spelled(_) => Value::from(value),
            Form::Flag => Value::from(value.parse::<bool>().map_err(|_| wrong("true or false"))?),
            Form::Number(_) => Value::from(value.parse::<u32>().map_err(|_| wrong("a whole number"))?),
        };
        map.insert(option.name.to_owned(), value);
    }
    let request = serde_json::from_value(Value::Object(map));
    request.map(Some).map_err(|e| Failure::usage(format!("--slurm: {e}")))
}

/// A field's name as options are spelled: `memory-mb`.
pub(crate) fn spelled(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            text.push('-');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
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
        request(&args).map(|(request, _)| request)
    }

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
            "--py-files=s3a://x/a.zip,s3a://x/b.py",
            "--jars=file:/x.jar",
            "--files=file:/f",
            "--archives=file:/a.zip#a",
            "--packages=g:n:1",
            "--proxy-user=u",
            "--class=C",
            "--slurm=partition=gpu",
            "--slurm=memory-mb=100",
            "--slurm=requeue=true",
        ])
        .unwrap();
        insta::assert_snapshot!("request", serde_json::to_string_pretty(&request).unwrap());
        libra_api::submit::parse(&serde_json::to_value(&request).unwrap()).unwrap();
    }

    #[test]
    fn programs_are_uploaded_and_sql_travels_as_its_text() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let (py, sql, bad) =
            (write("a.py", b"print(1)"), write("a.SQL", b"SELECT 1"), write("b.sql", b"\xff"));
        let python = build(&[&py, "--", "--day", "1"]).unwrap();
        let file = python.file.clone().unwrap();
        assert!(file.starts_with("artifact:sha256:") && file.ends_with("#a.py"), "{file}");
        assert_eq!((python.code, python.args), (None, vec!["--day".into(), "1".into()]));
        let text = build(&[&sql]).unwrap();
        assert_eq!((text.code.as_deref(), text.kind.as_deref()), (Some("SELECT 1"), Some("sql")));
        assert_eq!(build(&["s3a://b/x.py", "--kind=python"]).unwrap().file.as_deref(), Some("s3a://b/x.py"));
        for (words, says) in [
            (vec![sql.as_str(), "--", "x"], "takes no arguments"),
            (vec!["/no/such.py"], "can't be read"),
            (vec!["/no/such.sql"], "can't be read"),
            (vec![bad.as_str()], "can't be read"),
            (vec!["app.jar"], "file:"),
            (vec!["--sql=x", "--jars=no-such.jar"], "can't be read"),
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
}
