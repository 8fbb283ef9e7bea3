//! Traces in the Standard Workload Format (version 2.2): 18 numbers a line, -1 for unknown, `;` before comments.
//! <https://www.cs.huji.ac.il/labs/parallel/workload/swf.html>

use std::fmt::Write as _;

use super::{Task, Workload};
use crate::memory::{GIB, KIB};
use crate::mode::Mode;
use crate::time::MICROS_PER_SECOND;
use crate::turn::{Demand, Micros, Resources};

/// Fields of a line.
const FIELDS: usize = 18;
/// A job of which no memory is known takes this for each core, in bytes.
const MEMORY_PER_CORE: u64 = GIB;

/// A trace that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Its jobs.
    pub workload: Workload,
    /// Lines that are no jobs, and why: at most [`MAX_COMPLAINTS`].
    pub complaints: Vec<String>,
    /// Lines that are no jobs.
    pub skipped: usize,
}

/// So many complaints are kept.
pub const MAX_COMPLAINTS: usize = 20;

/// Reads a trace. Lines that can't be read are skipped and told; no text makes it fail.
///
/// Group becomes tenant, user becomes user, executable becomes name, queue stays queue. Processors are cores; of the
/// requested and the allocated number the greater counts, and so with memory. The requested time is the limit.
pub fn parse(text: &str) -> Trace {
    let mut trace = Trace::default();
    let mut tasks = Vec::new();
    for (number, line) in (1u64..).zip(text.lines()) {
        let line = line.split(';').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        match task(line) {
            Ok(task) => tasks.push(task),
            Err(why) => {
                trace.skipped += 1;
                if trace.complaints.len() < MAX_COMPLAINTS {
                    trace.complaints.push(format!("line {number}: {why}"));
                }
            }
        }
    }
    trace.workload = Workload::new(tasks);
    trace
}

fn micros(seconds: f64) -> Micros {
    #[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
    let micros = (seconds * MICROS_PER_SECOND as f64) as Micros;
    micros
}

fn whole(number: f64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; a cast saturates")]
    (number > 0.0).then_some(number as u64)
}

fn task(line: &str) -> Result<Task, String> {
    let mut fields = [-1.0; FIELDS];
    let mut count = 0;
    for (n, word) in line.split_whitespace().enumerate() {
        let number: f64 = word.parse().map_err(|_| format!("`{}` is no number", word.escape_debug()))?;
        if !number.is_finite() {
            return Err(format!("`{word}` is no number"));
        }
        if let Some(field) = fields.get_mut(n) {
            *field = number;
        }
        count = n + 1;
    }
    if count < FIELDS {
        return Err(format!("{count} fields; there must be {FIELDS}"));
    }
    let [_, submitted, _, run, allocated, _, used_memory, requested, limit, requested_memory, ..] = fields;
    let [.., _status, user, group, executable, queue, _partition, _preceding, _think] = fields;
    if submitted < 0.0 || run < 0.0 {
        return Err("neither submit time nor run time may be unknown".to_owned());
    }
    let cores = whole(requested.max(allocated)).ok_or("the number of processors is unknown")?;
    let per_core =
        whole(requested_memory.max(used_memory)).map_or(MEMORY_PER_CORE, |kib| kib.saturating_mul(KIB));
    let named = |what: &str, number: f64| format!("{what}-{}", whole(number).unwrap_or(0));
    Ok(Task {
        at: micros(submitted),
        queue: named("queue", queue),
        tenant: named("group", group),
        user: named("user", user),
        name: named("app", executable),
        priority: 5,
        mode: Mode::SparkSubmit,
        demand: Demand::on_one_node(Resources::new(cores, per_core.saturating_mul(cores))),
        runs: micros(run).max(1),
        limit: (limit > 0.0).then(|| micros(limit)),
    })
}

/// The number at the end of a name such as `user-7`; of several, `user-1-3`, one is made.
fn number(name: &str) -> u64 {
    name.split('-')
        .filter_map(|part| part.parse::<u64>().ok())
        .fold(0, |all, n| all.saturating_mul(100).saturating_add(n))
}

/// Writes a workload as a trace.
pub fn write(workload: &Workload, comment: &str) -> String {
    let mut text = String::from("; Version: 2.2\n");
    for line in comment.lines() {
        let _ = writeln!(text, "; {line}");
    }
    let seconds = |micros: Micros| micros / MICROS_PER_SECOND;
    for (n, task) in workload.tasks.iter().enumerate() {
        let cores = task.demand.driver.cores.max(1);
        let limit = task.limit.map_or(-1, seconds);
        let _ = writeln!(
            text,
            "{} {} -1 {} {cores} -1 -1 {cores} {limit} {} 1 {} {} {} -1 -1 -1 -1",
            n + 1,
            seconds(task.at),
            seconds(task.runs).max(1),
            task.demand.driver.memory / cores / KIB,
            number(&task.user),
            number(&task.tenant),
            number(&task.name),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Recipe, generate};
    use super::*;

    #[test]
    fn a_line_becomes_a_job() {
        let text = "; Version: 2.2\n;\n 1 30 5 3600 4 -1 1048576 8 7200 -1 1 3 2 9 1 -1 -1 -1 ; a remark\n";
        let trace = parse(text);
        let [task] = trace.workload.tasks.as_slice() else { panic!("{trace:?}") };
        assert_eq!((task.at, task.runs), (30_000_000, 3_600_000_000));
        assert_eq!(task.limit, Some(7_200_000_000));
        assert_eq!(task.demand.driver, Resources::new(8, 8 * GIB));
        assert_eq!(
            (task.tenant.as_str(), task.user.as_str(), task.name.as_str()),
            ("group-2", "user-3", "app-9")
        );
    }

    #[test]
    fn lines_that_are_no_jobs_are_told() {
        let trace = parse("1 2 3\nx\n1 30 5 -1 4 -1 -1 8 7200 -1 1 3 2 9 1 -1 -1 -1\n");
        assert_eq!(trace.skipped, 3);
        assert_eq!(trace.complaints[0], "line 1: 3 fields; there must be 18");
        assert!(trace.complaints[1].contains("no number"), "{:?}", trace.complaints);
    }

    #[test]
    fn what_is_written_is_read() {
        let workload = generate(&Recipe { jobs: 100, ..Recipe::default() });
        let trace = parse(&write(&workload, "of our own making"));
        assert_eq!((trace.workload.tasks.len(), trace.skipped), (100, 0));
        assert_eq!(trace.workload.tasks[7].demand.driver.cores, workload.tasks[7].demand.driver.cores);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-0-9eE.; \nxINFna]{0,200}") {
            let _ = parse(&text);
        }
    }
}
