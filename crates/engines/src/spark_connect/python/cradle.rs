//! A warm process from Libra's side; `shim::cradle` is the other one.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use super::files;
use crate::attempt_dir::AttemptDir;
use crate::failpoint;
use crate::shim::process::{self, Spawned};
use crate::shim::records;
use crate::spark_home::SparkHome;

/// How long a process may take to get warm, on a machine that is busy.
const WARM_PATIENCE: Duration = Duration::from_mins(2);
/// How long the handing over of an attempt may take; the disk is waited for.
const TAKE_PATIENCE: Duration = Duration::from_secs(20);
/// Reading and writing for Libra's user alone.
const PRIVATE_DIRECTORY: u32 = 0o700;

/// A process that waits, warm, for an attempt. It ends when this value is dropped.
pub(super) struct Cradle {
    orders: ChildStdin,
    reports: Lines<BufReader<ChildStdout>>,
    shim: Spawned,
    /// The Spark that it was started with.
    pub(super) spark: SparkHome,
}

/// What became of an attempt that was handed to a cradle.
pub(super) enum Taken {
    /// The cradle is its shim.
    By(Spawned),
    /// Another owns it, or it was revoked.
    Refused,
    /// The cradle can't take it, and has not.
    Unfit(String),
    /// Nobody knows: its files tell, now or in a moment.
    Unclear(String),
}

impl Cradle {
    /// Starts a cradle in a directory below `places` and waits until it is warm.
    ///
    /// # Errors
    /// In words, when it does not become warm.
    pub(super) async fn start(exe: &Path, places: &Path, spark: &SparkHome) -> io::Result<Self> {
        let token = uuid::Uuid::now_v7().to_string();
        let dir = AttemptDir::new(places.join(&token));
        std::fs::DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(dir.path())?;
        files::write_scripts(dir.path())?;
        let file = files::cradle(spark, &dir, &token);
        records::write_private(&dir.launch_file(), &serde_json::to_vec(&file)?)?;
        let mut command = Command::new(exe);
        command
            .args(["shim".as_ref(), "--cradle".as_ref(), "--dir".as_ref(), dir.path().as_os_str()])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(false);
        if let Some(point) = failpoint::for_shim() {
            command.env(failpoint::VARIABLE, point);
        }
        let mut child = command.spawn()?;
        let missing = || io::Error::other("it has no pipes");
        let orders = child.stdin.take().ok_or_else(missing)?;
        let reports = BufReader::new(child.stdout.take().ok_or_else(missing)?).lines();
        let mut cradle = Self { orders, reports, shim: process::reaped(child), spark: spark.clone() };
        match timeout(WARM_PATIENCE, cradle.reports.next_line()).await {
            Ok(Ok(Some(said))) if said == "ready" => Ok(cradle),
            Ok(Ok(Some(said))) => Err(io::Error::other(said.trim_start_matches("unfit ").to_owned())),
            Ok(Ok(None)) => Err(io::Error::other("it ended while it imported what jobs need")),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("it did not become ready in time")),
        }
    }

    /// False once it has ended.
    pub(super) fn is_alive(&self) -> bool {
        !*self.shim.ended.borrow()
    }

    /// Has it take the attempt in `dir`, whose files are ready.
    pub(super) async fn take(mut self, dir: &AttemptDir) -> Taken {
        let order = serde_json::to_string(&dir.path().to_string_lossy())
            .map(|text| format!("{text}\n"))
            .map_err(io::Error::other);
        let written = match order {
            Ok(order) => self.orders.write_all(order.as_bytes()).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            return Taken::Unfit(error.to_string());
        }
        failpoint::hit("after-spawn");
        let said = timeout(TAKE_PATIENCE, self.reports.next_line()).await;
        failpoint::hit("after-owner");
        match said {
            Ok(Ok(Some(said))) if said == "taken" => Taken::By(self.attending()),
            Ok(Ok(Some(said))) if said == "refused" => Taken::Refused,
            Ok(Ok(Some(said))) => Taken::Unfit(said),
            Ok(Ok(None)) => self.without_words(dir, "it ended"),
            Ok(Err(error)) => self.without_words(dir, &error.to_string()),
            Err(_) => self.without_words(dir, "it did not answer in time"),
        }
    }

    /// The shim of an attempt. That is over when the shim says so: it has more to do before it ends itself.
    fn attending(self) -> Spawned {
        let Self { orders: _, mut reports, shim, spark: _ } = self;
        let (over, ended) = watch::channel(false);
        let pid = shim.pid;
        tokio::spawn(async move {
            let mut gone = shim.ended;
            let said = async {
                // A line that comes late may still be the one before.
                while matches!(reports.next_line().await, Ok(Some(line)) if line != "over") {}
            };
            tokio::select! {
                () = said => {}
                // An error means that the waiting task is gone, with the runtime.
                _ = gone.wait_for(|gone| *gone) => {}
            }
            over.send_replace(true);
        });
        Spawned { pid, ended }
    }

    fn without_words(self, dir: &AttemptDir, why: &str) -> Taken {
        // An attempt that ended before it was said to have begun.
        match process::status(dir) {
            Ok(process::Status::Owned { .. } | process::Status::Exited { .. }) => Taken::By(self.attending()),
            Ok(_) | Err(_) => Taken::Unclear(why.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shim::tests::Scratch;

    /// A shim of which only the words are true.
    const SHIM: &str = "#!/bin/sh\n\
        until_there() { while [ ! -e \"$1\" ]; do sleep 0.01; done; }\n\
        echo ready; read -r order; cd \"$4\"\n\
        echo taken; until_there twice; echo taken; touch said; until_there end; echo over; exec sleep 60\n";

    #[tokio::test]
    async fn an_attempt_is_over_when_its_shim_says_so_and_not_before() {
        let scratch = Scratch::new();
        let exe = scratch.dir.path().join("libra");
        scratch.program(&exe, SHIM);
        let places = scratch.dir.path().join("python");
        let home = scratch.dir.path().to_owned();
        let spark = SparkHome { home, python: None, java: None, version: String::new() };
        let cradle = Cradle::start(&exe, &places, &spark).await.unwrap();
        let own = std::fs::read_dir(&places).unwrap().next().unwrap().unwrap().path();
        let Taken::By(mut shim) = cradle.take(&scratch.dir).await else { panic!("it was not taken") };

        std::fs::write(own.join("twice"), b"").unwrap();
        while !own.join("said").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let early = timeout(Duration::from_millis(100), shim.ended.changed()).await.is_ok();
        assert!(!early, "that it was taken was said twice");
        std::fs::write(own.join("end"), b"").unwrap();
        let over = timeout(WARM_PATIENCE, shim.ended.wait_for(|ended| *ended)).await;
        assert!(over.is_ok_and(|told| told.is_ok()));
        let pid = rustix::process::Pid::from_raw(i32::try_from(shim.pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it still lives");
    }
}
