//! What Spark needs: itself, Java, and Python.

use std::path::Path;
use std::process::{Command, Stdio};

use libra_engines::spark_home::SparkMissing;

use super::report::Check;

/// The oldest Java that Spark 4 runs on.
const LEAST_JAVA: u32 = 17;
/// The oldest Python that pyspark 4.3 runs on.
const LEAST_PYTHON: (u32, u32) = (3, 11);
/// How a Java is got where there is none.
const JAVA_HINT: &str = "`make setup` installs one, or: sudo apt-get install openjdk-17-jre-headless";
const PYTHON_HINT: &str = "set PYSPARK_PYTHON to a Python 3.11 or newer";

pub(super) fn missing(why: &SparkMissing) -> Check {
    Check::missing("spark", why.to_string())
}

pub(super) fn java(program: Option<&Path>) -> Check {
    let Some(program) = program else {
        return Check::missing("java", "no `java` was found, neither by JAVA_HOME nor on PATH")
            .hint(JAVA_HINT);
    };
    let shown = program.display();
    match words(program, &["-version"]).as_deref().and_then(java_version) {
        Some((version, major)) if major >= LEAST_JAVA => Check::ok("java", format!("{version}, {shown}")),
        Some((version, _)) => {
            Check::missing("java", format!("{shown} is version {version}; Spark needs {LEAST_JAVA} or newer"))
                .hint(JAVA_HINT)
        }
        None => Check::missing("java", format!("{shown} does not say its version")).hint(JAVA_HINT),
    }
}

/// The Python that jobs run with.
pub(super) fn python(own: Option<&Path>) -> Check {
    let program = program(own);
    let program = Path::new(&program);
    let shown = program.display();
    match words(program, &["--version"]).as_deref().and_then(python_version) {
        Some((version, number)) if number >= LEAST_PYTHON => {
            Check::ok("python", format!("{version}, {shown}"))
        }
        Some((version, _)) => {
            let (major, minor) = LEAST_PYTHON;
            let detail = format!("{shown} is version {version}; Spark needs {major}.{minor} or newer");
            Check::missing("python", detail).hint(PYTHON_HINT)
        }
        None => Check::missing("python", format!("`{shown}` can't be run")).hint(PYTHON_HINT),
    }
}

/// What Spark's Python client needs besides Spark, by the names that are imported; without it only in-cluster Python
/// does not work.
const CLIENT: &str = "google.rpc grpc grpc_status pandas pyarrow zstandard";
/// Prints which of its arguments can't be imported.
const FIND_MISSING: &str = "import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError:
        print(name)
print('done')";

/// The packages that in-cluster Python needs, in the Python that jobs run with.
pub(super) fn client(own: Option<&Path>) -> Check {
    let program = program(own);
    let mut arguments = vec!["-W", "ignore", "-c", FIND_MISSING];
    arguments.extend(CLIENT.split(' '));
    let said = words(Path::new(&program), &arguments).unwrap_or_default();
    let Some(missing) = said.trim().strip_suffix("done") else {
        return Check::warning("python client", "it can't be told whether its packages are there")
            .hint(PYTHON_HINT);
    };
    let missing: Vec<&str> = missing.split_whitespace().collect();
    if missing.is_empty() {
        return Check::ok("python client", "the packages for in-cluster Python are there");
    }
    Check::warning("python client", format!("in-cluster Python lacks {}", missing.join(", "))).hint(
        "`make setup` installs them into its own Spark; elsewhere: pip install 'pyspark[connect]' 'pandas<3'",
    )
}

/// Spark's own Python, else PYSPARK_PYTHON, else `python3`.
fn program(own: Option<&Path>) -> std::ffi::OsString {
    let named = std::env::var_os("PYSPARK_PYTHON").filter(|name| !name.is_empty());
    own.map_or_else(|| named.unwrap_or_else(|| "python3".into()), |own| own.as_os_str().to_owned())
}

/// What the program says on either stream.
fn words(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&said).into_owned())
}

/// From `openjdk version "17.0.15" 2025-04-15`; Java 8 calls itself 1.8.
fn java_version(text: &str) -> Option<(String, u32)> {
    let version = text.split_once("version \"")?.1.split('"').next()?;
    let mut parts = version.split(['.', '-', '+', '_']);
    let first: u32 = parts.next()?.parse().ok()?;
    let major = if first == 1 { parts.next()?.parse().ok()? } else { first };
    Some((version.to_owned(), major))
}

/// From `Python 3.11.7`.
fn python_version(text: &str) -> Option<(String, (u32, u32))> {
    let version = text.trim().strip_prefix("Python ")?.split_whitespace().next()?;
    let mut parts = version.split('.');
    Some((version.to_owned(), (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let java = |text| java_version(text).map(|(_, major)| major);
        assert_eq!(java("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK …"), Some(17));
        assert_eq!(java("Picked up JAVA_TOOL_OPTIONS: -Xmx1g\njava version \"1.8.0_402\""), Some(8));
        assert_eq!(java("openjdk version \"25-ea\" 2025-09-16"), Some(25));
        assert_eq!(java("bash: java: not found"), None);
        assert_eq!(python_version("Python 3.11.7\n").map(|v| v.1), Some((3, 11)));
        assert_eq!(python_version("Python 3.9.0+"), Some(("3.9.0+".into(), (3, 9))));
        assert_eq!(python_version("no"), None);
    }

    #[test]
    fn what_is_not_there_is_said_with_a_hint() {
        for check in [java(None), java(Some(Path::new("/no/java"))), python(Some(Path::new("/no/python")))] {
            assert!(!check.is_ok(), "{check:?}");
        }
    }
}
