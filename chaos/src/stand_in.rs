//! A Spark home of the harness's own: its `spark-submit` runs a small Python program without a JVM, so that
//! thousands of jobs run, each under a real shim and with a real exit code. The jars are those of the real Spark.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use libra_engines::spark_home::SparkHome;

/// The two files that jobs are made of.
#[derive(Clone, Debug)]
pub(crate) struct StandIn {
    /// For `libra.spark.home`.
    pub(crate) home: PathBuf,
    /// The program that every spark-submit job runs.
    pub(crate) program: PathBuf,
}

/// Makes one below `dir`.
pub(crate) fn make(dir: &Path) -> io::Result<StandIn> {
    let real = SparkHome::find(None).map_err(io::Error::other)?;
    let home = dir.join("spark");
    let program = home.join("program.py");
    fs::create_dir_all(home.join("bin"))?;
    symlink(real.home.join("jars"), home.join("jars"))?;
    fs::write(&program, include_str!("program.py"))?;
    let text = |path: &Path| path.display().to_string();
    let script = include_str!("spark_submit.sh")
        .replace("@REAL@", &text(&real.home))
        .replace("@PROGRAM@", &text(&program))
        .replace("@SPARK_PYTHON@", &real.python.as_deref().map(text).unwrap_or_default());
    let submit = home.join("bin/spark-submit");
    fs::write(&submit, script)?;
    fs::set_permissions(&submit, fs::Permissions::from_mode(0o755))?;
    Ok(StandIn { home, program })
}
