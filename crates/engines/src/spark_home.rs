//! Finding Spark and Java on this machine, without starting either.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// A Spark installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparkHome {
    /// What `SPARK_HOME` has to be: the directory with `bin/spark-submit` and `jars/`.
    pub home: PathBuf,
    /// The Python that belongs to the installation (a virtual environment that pyspark was installed into); None
    /// when the installation has none of its own, and then `PYSPARK_PYTHON` or `python3` is taken.
    pub python: Option<PathBuf>,
    /// The `java` program; None when there is none to be found.
    pub java: Option<PathBuf>,
    /// Spark's version, from the name of its core jar: `4.3.0`.
    pub version: String,
}

/// Spark can't be used, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SparkMissing(pub String);

const HINT: &str = "Run `make setup`, which installs one, or set `libra.spark.home` to an installation.";

impl SparkHome {
    /// Finds Spark: the `configured` directory, else `SPARK_HOME`, else the `spark-submit` on `PATH`, else the copy
    /// that the set-up installs in `$XDG_DATA_HOME/libra/spark`. A place that is named but holds no Spark is an
    /// error, never passed over.
    ///
    /// # Errors
    /// When there is none, in words that say what to do.
    pub fn find(configured: Option<&Path>) -> Result<Self, SparkMissing> {
        Self::find_with(configured, &|name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    /// [`SparkHome::find`] with the environment as an argument.
    ///
    /// # Errors
    /// Those of [`SparkHome::find`].
    pub fn find_with(
        configured: Option<&Path>,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, SparkMissing> {
        let (home, version) = Self::locate(configured, variable)?;
        let python = ["../../../../bin/python3", "../../../../bin/python"]
            .iter()
            .map(|p| home.join(p))
            .find(|p| home.ends_with("site-packages/pyspark") && is_program(p))
            .map(|p| tidy(&p));
        Ok(Self { python, java: find_java(variable), version, home })
    }

    fn locate(
        configured: Option<&Path>,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<(PathBuf, String), SparkMissing> {
        let named = [
            ("libra.spark.home", configured.map(Path::to_path_buf)),
            ("SPARK_HOME", variable("SPARK_HOME").map(PathBuf::from)),
        ];
        for (name, path) in named {
            let Some(path) = path else { continue };
            return in_directory(&path).ok_or_else(|| {
                SparkMissing(format!(
                    "Spark was not found: {name} is `{}`, but there is no `bin/spark-submit` with a `jars` \
                     directory beside it. {HINT}",
                    path.display()
                ))
            });
        }
        let on_path = find_program("spark-submit", variable)
            .and_then(|program| program.canonicalize().ok())
            .and_then(|program| in_directory(program.parent()?.parent()?));
        let own = || in_directory(&data_home(variable)?.join("libra/spark"));
        on_path
            .or_else(own)
            .ok_or_else(|| SparkMissing(format!("Spark was not found on this machine. {HINT}")))
    }

    /// The home of the Java that Spark runs on, for `JAVA_HOME`.
    pub fn java_home(&self) -> Option<PathBuf> {
        let java = self.java.as_ref()?.canonicalize().ok()?;
        // A `java` that is a wrapper script elsewhere has no home beside it; then `PATH` has to do.
        let home = java.parent()?.parent()?;
        home.join("lib/modules").exists().then(|| home.to_path_buf())
    }
}

/// A Spark in `path`: unpacked there, or installed by pip into the virtual environment there.
fn in_directory(path: &Path) -> Option<(PathBuf, String)> {
    let path = std::path::absolute(path).ok()?;
    let pythons = fs::read_dir(path.join("lib")).ok().into_iter().flatten().flatten();
    let by_pip = pythons.map(|entry| entry.path().join("site-packages/pyspark"));
    let mut candidates: Vec<PathBuf> = std::iter::once(path.clone()).chain(by_pip).collect();
    // Several Pythons in one environment: the same answer every time.
    candidates.sort();
    candidates.into_iter().find_map(|home| {
        let version = core_version(&home)?;
        is_program(&home.join("bin/spark-submit")).then_some((home, version))
    })
}

/// The version in `jars/spark-core_2.13-4.3.0.jar`.
fn core_version(home: &Path) -> Option<String> {
    fs::read_dir(home.join("jars")).ok()?.flatten().find_map(|entry| {
        let name = entry.file_name();
        let (_scala, version) = name.to_str()?.strip_prefix("spark-core_")?.split_once('-')?;
        version.strip_suffix(".jar").map(str::to_owned)
    })
}

fn find_java(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let by_home = variable("JAVA_HOME").map(|home| Path::new(&home).join("bin/java"));
    by_home.filter(|java| is_program(java)).or_else(|| find_program("java", variable))
}

fn find_program(name: &str, variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    std::env::split_paths(&variable("PATH")?).map(|dir| dir.join(name)).find(|path| is_program(path))
}

fn data_home(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let by_home = || Some(Path::new(&variable("HOME")?).join(".local/share"));
    variable("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).or_else(by_home)
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Resolves `..` by the text, so that a virtual environment's `python` link is not followed out of it.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        if part == std::path::Component::ParentDir {
            tidy.pop();
        } else {
            tidy.push(part);
        }
    }
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    struct Machine(PathBuf, BTreeMap<&'static str, PathBuf>);

    impl Machine {
        fn new() -> Self {
            let root = std::env::temp_dir().join(format!("libra-spark-home-{}", uuid::Uuid::now_v7()));
            fs::create_dir_all(&root).unwrap();
            Self(root, BTreeMap::new())
        }
        fn program(&self, path: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fn spark(&self, home: &str, version: &str) {
            self.program(&format!("{home}/bin/spark-submit"));
            self.program(&format!("{home}/jars/spark-core_2.13-{version}.jar"));
        }
        fn set(&mut self, name: &'static str, path: &str) {
            self.1.insert(name, self.0.join(path));
        }
        fn find(&self, configured: Option<&str>) -> Result<SparkHome, SparkMissing> {
            let configured = configured.map(|path| self.0.join(path));
            SparkHome::find_with(configured.as_deref(), &|name| self.1.get(name).map(OsString::from))
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_nearest_name_wins() {
        let mut machine = Machine::new();
        let version = |m: &Machine, configured| m.find(configured).map(|s| s.version);
        let missing = machine.find(None).unwrap_err().0;
        assert!(missing.contains("make setup") && missing.contains("libra.spark.home"), "{missing}");
        machine.set("HOME", "home");
        machine.spark("home/.local/share/libra/spark/lib/python3.11/site-packages/pyspark", "1.0");
        assert_eq!(version(&machine, None).unwrap(), "1.0");
        machine.set("XDG_DATA_HOME", "data");
        machine.spark("data/libra/spark", "2.0");
        assert_eq!(version(&machine, None).unwrap(), "2.0");
        machine.spark("unpacked", "3.0");
        fs::create_dir_all(machine.0.join("links")).unwrap();
        std::os::unix::fs::symlink(
            machine.0.join("unpacked/bin/spark-submit"),
            machine.0.join("links/spark-submit"),
        )
        .unwrap();
        machine.set("PATH", "links");
        assert_eq!(version(&machine, None).unwrap(), "3.0");
        machine.spark("named", "4.3.0-SNAPSHOT");
        machine.set("SPARK_HOME", "named");
        assert_eq!(version(&machine, None).unwrap(), "4.3.0-SNAPSHOT");
        machine.spark("configured", "5.0");
        assert_eq!(version(&machine, Some("configured")).unwrap(), "5.0");
    }

    #[test]
    fn a_wrong_name_is_not_passed_over() {
        let mut machine = Machine::new();
        machine.spark("named", "4.3.0");
        machine.set("SPARK_HOME", "named");
        let missing = machine.find(Some("elsewhere")).unwrap_err().0;
        assert!(missing.contains("libra.spark.home is `") && missing.contains("elsewhere"), "{missing}");
    }

    #[test]
    fn an_environment_brings_its_python_and_java_its_home() {
        let mut machine = Machine::new();
        machine.spark("venv/lib/python3.12/site-packages/pyspark", "4.3.0");
        machine.program("venv/bin/python3");
        machine.program("venv/bin/spark-submit");
        machine.program("jdk/bin/java");
        machine.program("jdk/lib/modules");
        machine.set("PATH", "venv/bin");
        machine.set("JAVA_HOME", "jdk");
        let spark = machine.find(None).unwrap();
        assert_eq!(spark.python, Some(machine.0.join("venv/bin/python3")));
        assert_eq!(spark.java, Some(machine.0.join("jdk/bin/java")));
        assert_eq!(spark.java_home(), Some(machine.0.join("jdk")));
    }
}
