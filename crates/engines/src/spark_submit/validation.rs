//! What only this engine knows about a specification, checked before the job is stored.

use libra_core::spec::{JobSpec, Kind, Source};

/// Every violation: a JSON pointer (RFC 6901) and the reason.
pub(crate) fn violations(spec: &JobSpec) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut refuse = |pointer: String, reason: &str| found.push((pointer, reason.to_owned()));

    match (spec.kind, &spec.class_name) {
        (Kind::Jar, Some(class)) if !is_class(class) => {
            refuse("/className".to_owned(), "must be the whole name of a class, such as com.example.Main");
        }
        (Kind::Sql | Kind::Python | Kind::Scala, Some(_)) => {
            refuse("/className".to_owned(), "is for jars; other programs have no main class");
        }
        (Kind::Script, _) => refuse("/kind".to_owned(), "scripts run on Slurm"),
        (Kind::Jar | Kind::Sql | Kind::Python | Kind::Scala, _) => {}
    }
    if matches!(spec.kind, Kind::Scala | Kind::Jar) && !spec.py_files.is_empty() {
        refuse("/pyFiles".to_owned(), "are for python and sql jobs");
    }
    let source = match &spec.source {
        Source::Code(_) if spec.kind == Kind::Jar => {
            Some(("/code", "a jar is not a text; send its address as `file`"))
        }
        Source::Code(code) if code.trim().is_empty() => Some(("/code", "must not be empty")),
        Source::Code(code) if code.contains('\0') => Some(("/code", "must not contain a NUL character")),
        Source::File(file) if file.trim().is_empty() => Some(("/file", "must not be empty")),
        Source::File(file) if has_control(file) => Some(("/file", "must not contain control characters")),
        Source::File(file) if !is_absolute(file) => {
            Some(("/file", "must be an absolute path or a URI that the driver can read"))
        }
        Source::Code(_) | Source::File(_) => None,
    };
    if let Some((pointer, reason)) = source {
        refuse(pointer.to_owned(), reason);
    }
    for (key, value) in &spec.spark_config {
        let pointer = format!("/sparkConfig/{}", escape(key));
        if key.is_empty() || key.contains('=') || key.chars().any(|c| c.is_control() || c.is_whitespace()) {
            refuse(pointer, "a setting's name has no `=`, spaces or control characters");
        } else if value.contains('\0') {
            refuse(pointer, "must not contain a NUL character");
        } else if key == "spark.submit.deployMode" && !value.trim().eq_ignore_ascii_case("client") {
            refuse(pointer, "cluster deploy mode can't be tracked yet; use client");
        } else if key.starts_with("spark.libra.") {
            refuse(pointer, "settings that begin with spark.libra. are Libra's own");
        }
    }
    for (name, value) in &spec.env {
        let pointer = format!("/env/{}", escape(name));
        if !is_variable(name) {
            refuse(pointer, "a variable's name has letters, digits and `_` only and begins with no digit");
        } else if name.starts_with("LIBRA_") {
            refuse(pointer, "variables that begin with LIBRA_ are Libra's own");
        } else if value.contains('\0') {
            refuse(pointer, "must not contain a NUL character");
        }
    }
    let lists = [
        ("jars", &spec.jars),
        ("pyFiles", &spec.py_files),
        ("files", &spec.files),
        ("archives", &spec.archives),
        ("packages", &spec.packages),
    ];
    for (list, items) in lists {
        for (i, item) in items.iter().enumerate() {
            // spark-submit takes each list as one text, separated by commas.
            if item.trim().is_empty() || item.contains(',') || has_control(item) {
                refuse(format!("/{list}/{i}"), "must not be empty or contain commas or control characters");
            } else if list == "packages" {
                if !is_package(item) {
                    refuse(format!("/{list}/{i}"), "must be group:name:version, as Maven has it");
                }
            } else if !is_absolute(item) {
                refuse(
                    format!("/{list}/{i}"),
                    "must be an absolute path, a URI that the driver can read, or an upload (artifact:sha256:…)",
                );
            }
        }
    }
    for (i, argument) in spec.args.iter().enumerate() {
        if argument.contains('\0') {
            refuse(format!("/args/{i}"), "must not contain a NUL character");
        }
    }
    if spec.name.as_deref().is_some_and(has_control) {
        refuse("/name".to_owned(), "must not contain control characters");
    }
    if spec.proxy_user.as_deref().is_some_and(|user| user.trim().is_empty() || has_control(user)) {
        refuse("/proxyUser".to_owned(), "must not be empty or contain control characters");
    }
    found
}

/// `group:name:version`; Spark also takes slashes.
fn is_package(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '/']).collect();
    parts.len() == 3 && parts.iter().all(|part| !part.is_empty() && !part.contains(char::is_whitespace))
}

/// A class name as Java and Scala write it.
fn is_class(name: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '$'))
            && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '$'))
    };
    name.split('.').all(part)
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// An absolute path, or something with a scheme as in `s3a://bucket/job.py`.
fn is_absolute(file: &str) -> bool {
    let scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    };
    file.starts_with('/')
        || file.split_once(':').is_some_and(|(before, rest)| scheme(before) && rest.starts_with('/'))
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// One step of a JSON pointer.
fn escape(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(change: impl FnOnce(&mut JobSpec)) -> Vec<String> {
        let mut spec = JobSpec::new(Kind::Python, Source::Code("print(1)".to_owned()));
        change(&mut spec);
        violations(&spec).into_iter().map(|(pointer, _)| pointer).collect()
    }

    fn config(key: &str, value: &str) -> Vec<String> {
        pointers(|spec| {
            spec.spark_config.insert(key.to_owned(), value.to_owned());
        })
    }

    fn env(name: &str) -> Vec<String> {
        pointers(|spec| {
            spec.env.insert(name.to_owned(), "x".to_owned());
        })
    }

    #[test]
    fn an_ordinary_job_passes() {
        assert!(pointers(|_| {}).is_empty());
        assert!(config("spark.submit.deployMode", "client").is_empty());
        assert!(config("spark.sql.x", "a=b\nc").is_empty());
        assert!(env("AWS_REGION").is_empty());
        for file in ["/jobs/a.py", "s3a://bucket/a.py", "file:/a.py", "local:///a.py"] {
            assert!(pointers(|spec| spec.source = Source::File(file.to_owned())).is_empty(), "{file}");
        }
    }

    #[test]
    fn what_can_not_be_tracked_or_run_is_refused() {
        // contract: S4
        assert_eq!(config("spark.submit.deployMode", "cluster"), ["/sparkConfig/spark.submit.deployMode"]);
        assert_eq!(pointers(|spec| spec.kind = Kind::Jar), ["/code"]);
        assert_eq!(pointers(|spec| spec.class_name = Some("A".to_owned())), ["/className"]);
    }

    #[test]
    fn a_jar_is_a_file_with_a_class() {
        let jar = |class: Option<&str>| {
            pointers(|spec| {
                spec.kind = Kind::Jar;
                spec.source = Source::File("/a.jar".to_owned());
                spec.class_name = class.map(str::to_owned);
            })
        };
        assert!(jar(None).is_empty(), "the manifest may name it");
        assert!(jar(Some("com.example.Main$")).is_empty());
        for class in ["", "a b", "--verbose", "a..b", "1A"] {
            assert_eq!(jar(Some(class)), ["/className"], "{class}");
        }
        assert_eq!(
            pointers(|spec| {
                spec.kind = Kind::Scala;
                spec.py_files = vec!["/a.py".to_owned()];
            }),
            ["/pyFiles"]
        );
    }

    #[test]
    fn malformed_parts_are_named_by_pointer() {
        assert_eq!(config("a=b", "x"), ["/sparkConfig/a=b"]);
        assert_eq!(config("spark/a~b\n", "x"), ["/sparkConfig/spark~1a~0b\n"]);
        assert_eq!(config("spark.libra.attempt", "x"), ["/sparkConfig/spark.libra.attempt"]);
        for name in ["1A", "A-B", "", "LIBRA_ATTEMPT_TOKEN", "Ä"] {
            assert_eq!(env(name), [format!("/env/{name}")]);
        }
        assert_eq!(pointers(|spec| spec.source = Source::Code(" \n".to_owned())), ["/code"]);
        assert_eq!(pointers(|spec| spec.source = Source::File("a.py".to_owned())), ["/file"]);
        assert_eq!(pointers(|spec| spec.jars = vec!["/a.jar".to_owned(), "/b,c".to_owned()]), ["/jars/1"]);
        assert_eq!(pointers(|spec| spec.files = vec!["s3a://b/f".to_owned(), "f".to_owned()]), ["/files/1"]);
        assert_eq!(
            pointers(|spec| spec.packages = vec!["g:n:1".to_owned(), "g:n".to_owned()]),
            ["/packages/1"]
        );
    }
}
