//! Libra's hooks in a cluster, installed as people install them, with settings of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::programs;

/// Where a cluster's hooks are, and what they have kept.
#[derive(Clone, Debug)]
pub struct Hooks {
    dir: PathBuf,
    settings: PathBuf,
}

impl Hooks {
    /// Runs `install.sh` of `deploy/slurm` into a directory, with the settings beside the scripts, where they are found whoever
    /// starts these. They tell nobody anything yet.
    pub fn install(dir: &Path) -> Self {
        let hooks = Self { dir: dir.to_owned(), settings: dir.join("scripts/slurm.env") };
        hooks.put();
        hooks
    }

    /// Those of a cluster: its daemons have to name the file of the settings, in `LIBRA_SLURM_ENV`.
    pub(super) fn of_cluster(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), settings: dir.join("slurm.env") }
    }

    pub(super) fn put(&self) {
        fs::create_dir_all(self.scripts()).unwrap();
        self.write_settings("");
        let installer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/slurm/install.sh");
        let mut command = Command::new("sh");
        command.arg(installer).arg("--to").arg(self.scripts()).arg("--env").arg(self.settings());
        programs::run(command.args(["--slurm-user", &programs::user()]));
    }

    /// Where the scripts are.
    pub fn scripts(&self) -> PathBuf {
        self.dir.join("scripts")
    }

    /// The file of their settings.
    pub fn settings(&self) -> PathBuf {
        self.settings.clone()
    }

    /// From now on they tell a Libra, of a cluster of this name, with the key in a file if there is one.
    pub fn tell(&self, url: &str, cluster: &str, token_file: Option<&Path>) {
        let token = token_file.map(|file| format!("LIBRA_TOKEN_FILE={}\n", file.display()));
        self.write_settings(&format!(
            "LIBRA_URL={url}\nLIBRA_CLUSTER={cluster}\n{}",
            token.unwrap_or_default()
        ));
    }

    fn write_settings(&self, lines: &str) {
        // Renamed: a hook may be reading the old ones just now.
        let fresh = self.settings.with_extension("new");
        fs::write(&fresh, format!("{lines}LIBRA_SPOOL={}\n", self.spool().display())).unwrap();
        fs::rename(fresh, self.settings()).unwrap();
    }

    fn spool(&self) -> PathBuf {
        self.dir.join("spool")
    }

    /// Events that Libra has not taken yet.
    pub fn waiting(&self) -> Vec<PathBuf> {
        self.below("")
    }

    /// Events that it has refused.
    pub fn refused(&self) -> Vec<PathBuf> {
        self.below("refused")
    }

    fn below(&self, room: &str) -> Vec<PathBuf> {
        let queues = ["node", "controller"].map(|queue| self.spool().join(queue).join(room));
        let files = queues.iter().filter_map(|queue| fs::read_dir(queue).ok()).flatten();
        files
            .filter_map(|file| file.ok().map(|file| file.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect()
    }

    /// Runs `drain` to its end; true when nothing is left.
    pub fn drain(&self) -> bool {
        let mut command = Command::new(self.scripts().join("drain"));
        let out = command.env("LIBRA_SLURM_ENV", self.settings()).output().unwrap();
        out.status.success()
    }
}
