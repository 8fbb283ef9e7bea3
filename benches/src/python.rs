//! A small Python job's way through Libra, from the request to SUCCEEDED, beside a bare warm process that does the same
//! on the same server.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::connect;
use crate::figures::{Samples, Table, aim};
use crate::http1::Connection;
use crate::service::{Service, run_job};

const CONFIG: &str = "\
libra.execution.modes.in-cluster.stop-server-on-shutdown: true
libra.execution.modes.in-cluster.keepalive: 1m
libra.execution.modes.in-cluster.python.pool-size: 2
";
const CODE: &str = "spark.range(10).count()";
/// Aimed at: this much more than the bare process at p50, milliseconds.
const AIM_MS: f64 = 30.0;
/// Between two jobs in the paced turns: the pool fills up again meanwhile.
const PACE: Duration = Duration::from_secs(2);
/// How often it is looked whether the last job has left a process behind.
const LOOK: Duration = Duration::from_millis(20);
/// Jobs one right after another.
const IN_A_ROW: usize = 20;

/// The bare process.
struct Bare {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Bare {
    fn start(scratch: &Path, data_dir: &Path) -> Outcome<Self> {
        let (port, secret) = connect::access(data_dir)?;
        let script = scratch.join("bare.py");
        std::fs::write(&script, include_str!("python.py"))?;
        let python = libra_engines::spark_home::SparkHome::find(None)?.python.ok_or("Spark has no Python")?;
        let mut child = Command::new(python)
            .arg(script)
            .env("SPARK_REMOTE", format!("sc://localhost:{port}/;user_id=bench"))
            .env("SPARK_CONNECT_AUTHENTICATE_TOKEN", secret)
            .env("SPARK_CONNECT_MODE_ENABLED", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().ok_or("no standard input")?;
        let mut answers = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        answers.read_line(&mut String::new())?;
        Ok(Self { child, orders, answers })
    }

    fn run(&mut self) -> Outcome<Duration> {
        writeln!(self.orders)?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(Duration::from_secs_f64(line.trim().parse().map_err(|_| "the bare process has failed")?))
    }

    fn end(mut self) -> Outcome<()> {
        drop(self.orders);
        self.child.wait()?;
        Ok(())
    }
}

pub(crate) async fn measure(libra: &Path, warm_up: usize, jobs: usize, table: &mut Table) -> Outcome<()> {
    let scratch = tempfile::tempdir()?;
    let service = Service::start(libra, scratch.path(), CONFIG)?;
    let mut api = Connection::open(service.address).await?;
    // Starts the Spark server, and the pool.
    run(&mut api).await?;
    let mut bare = Bare::start(scratch.path(), service.data_dir())?;
    for _ in 0..warm_up {
        bare.run()?;
    }
    let (mut through, mut beside) = (Samples::default(), Samples::default());
    for turn in 0..jobs {
        tokio::time::sleep(PACE).await;
        // Who goes first alternates: after the pause the machine is cold, and who comes second finds it warm.
        for libras in [turn % 2 == 0, turn % 2 != 0] {
            if libras {
                let began = Instant::now();
                run(&mut api).await?;
                through.add(began.elapsed());
            } else {
                beside.add(bare.run()?);
            }
        }
    }
    let began = Instant::now();
    for _ in 0..IN_A_ROW {
        run(&mut api).await?;
    }
    let row = began.elapsed().as_secs_f64() * 1000.0 / f64::from(u32::try_from(IN_A_ROW)?);
    let began = Instant::now();
    let mut left = left_behind(service.data_dir())?;
    // The guard of the last job may still be putting its records away.
    while left > 0 && began.elapsed() < PACE {
        tokio::time::sleep(LOOK).await;
        left = left_behind(service.data_dir())?;
    }
    bare.end()?;
    service.end()?;

    for percent in [50, 99] {
        let (l, b) = (through.percentile(percent), beside.percentile(percent));
        let aimed = if percent == 50 { aim("≤ + 30 ms", l - b <= AIM_MS) } else { String::new() };
        table.add(
            &format!("{CODE} in Python, submit → SUCCEEDED, p{percent}"),
            &format!("{l:.1} ms"),
            &format!("{b:.1} ms"),
            &format!("{:+.1} ms on a bare warm PySpark process", l - b),
            &aimed,
        );
    }
    table.add("the same, one right after another, a job", &format!("{row:.0} ms"), "", "", "");
    table.remark(format!(
        "Python: {jobs} jobs, each in a fresh warm process and a session of its own, {} s apart, in turn with the bare \
         process, which makes a session for each as well, each of them first in half of the turns; then {IN_A_ROW} in a row, where jobs wait for the pool. \
         Processes of ended jobs left behind: {left}.",
        PACE.as_secs()
    ));
    Ok(())
}

/// Processes that work in a directory of an attempt.
fn left_behind(data_dir: &Path) -> Outcome<usize> {
    let jobs = data_dir.join("jobs");
    let works_there = |entry: &std::fs::DirEntry| {
        std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&jobs))
    };
    Ok(std::fs::read_dir("/proc")?.flatten().filter(works_there).count())
}

/// Submits the program and waits until it has succeeded.
async fn run(api: &mut Connection) -> Outcome<()> {
    let body = format!(r#"{{"code":"{CODE}","kind":"python","executionMode":"in-cluster"}}"#);
    run_job(api, &body).await
}
