//! Where Flink is, and the Java that runs it.

use std::env;
use std::path::{Path, PathBuf};

/// The version that the set-up installs.
const VERSION: &str = "2.3.0";

/// Flink's jars, as `pip` unpacks them.
#[derive(Debug)]
pub(super) struct Home {
    dir: PathBuf,
}

impl Home {
    /// The Flink that `setup.sh test` installs. Panics, saying so, where there is none.
    pub(super) fn find() -> Self {
        let data = data_home();
        let venv = data.join("libra/flink");
        let pythons = venv.join("lib").read_dir().into_iter().flatten().flatten();
        let found = pythons.map(|entry| entry.path().join("site-packages/pyflink")).find(|dir| whole(dir));
        let dir = found.unwrap_or_else(|| {
            panic!(
                "this test needs Flink {VERSION}, and there is none in {}; {}",
                venv.display(),
                crate::INSTALL
            )
        });
        Self { dir }
    }

    /// A directory of it: `lib`, `opt` or `plugins`.
    pub(super) fn part(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// All that the JobManager and the TaskManager are made of.
    pub(super) fn class_path(&self) -> String {
        let jars = self.part("lib").read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
        let mut jars: Vec<String> = jars
            .filter(|path| path.extension().is_some_and(|extension| extension == "jar"))
            .map(|path| path.display().to_string())
            .collect();
        // Which of two classes of one name is taken must not depend on the directory's order.
        jars.sort();
        jars.join(":")
    }

    /// The Python of the environment that it is installed in. Panics where that has Flink's jars alone.
    pub(super) fn python(&self) -> PathBuf {
        let venv = self.dir.ancestors().find(|dir| dir.join("pyvenv.cfg").is_file());
        let python = venv.map(|venv| venv.join("bin/python")).filter(|python| python.exists());
        let whole = self.dir.join("datastream").is_dir();
        python.filter(|_| whole).unwrap_or_else(|| {
            panic!(
                "this test needs Flink's Python packages beside {}; {}",
                self.dir.display(),
                crate::INSTALL
            )
        })
    }

    /// What programs are compiled against.
    pub(super) fn dist(&self) -> PathBuf {
        dist(&self.dir)
    }
}

/// The `java` of `JAVA_HOME`, else that on `PATH`.
pub(super) fn java() -> PathBuf {
    let home = env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin/java"));
    home.filter(|java| java.is_file()).unwrap_or_else(|| PathBuf::from("java"))
}

fn dist(dir: &Path) -> PathBuf {
    dir.join(format!("lib/flink-dist-{VERSION}.jar"))
}

fn whole(dir: &Path) -> bool {
    dist(dir).is_file()
}

fn data_home() -> PathBuf {
    let named = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    named.unwrap_or_else(|| PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".local/share"))
}
