//! `libra simulate`: a workload in virtual time, and how everybody fares.

use std::fmt::Write as _;
use std::fs;

use libra_core::memory::{self, MIB};
use libra_core::simulate::{Figures, Recipe, Setting, Workload, generate, run, swf};
use libra_core::turn::{Policy, Pool, Resources};
use serde::Serialize;

use crate::args::{Format, PolicyName, SimulateArgs};
use crate::failure::{Exit, Failure};
use crate::output;

/// Traces larger than this are refused, in bytes: all of them is read at once.
const MAX_TRACE: u64 = 1 << 30;

/// The figures of one policy.
#[derive(Serialize)]
struct Played {
    policy: &'static str,
    #[serde(flatten)]
    figures: Figures,
}

fn name(policy: PolicyName) -> &'static str {
    match policy {
        PolicyName::Libra => "libra",
        PolicyName::Fifo => "fifo",
        PolicyName::Easy => "easy",
    }
}

/// Plays the workload, and prints the figures.
pub(crate) fn run_command(args: &SimulateArgs) -> Result<Exit, Failure> {
    let memory = memory::parse(&args.memory, MIB)
        .map_err(|why| Failure::new(Exit::Usage, format!("--memory {}: {why}", args.memory)))?;
    let workload = workload(args, memory)?;
    if let Some(file) = &args.write_trace {
        let comment = format!(
            "Made by libra simulate --jobs {} --seed {} --load {} --cores {}\nMaxProcs: {}",
            args.jobs, args.seed, args.load, args.cores, args.cores
        );
        fs::write(file, swf::write(&workload, &comment))
            .map_err(|e| Failure::new(Exit::Failed, format!("{} can't be written: {e}", file.display())))?;
        return Ok(Exit::Done);
    }
    let capacity = Resources::new(args.cores, memory);
    let play = |policy: PolicyName| {
        let (rules, learn) = match policy {
            PolicyName::Libra => (Policy::default(), true),
            PolicyName::Fifo => (Policy::first_come(false), false),
            PolicyName::Easy => (Policy::first_come(true), false),
        };
        let setting = Setting { pools: vec![Pool::single("pool", capacity)], policy: rules, learn };
        let figures = Figures::of(&workload, &run(&workload, &setting), capacity);
        Played { policy: name(policy), figures }
    };
    let played: Vec<Played> = std::iter::once(args.policy).chain(args.against).map(play).collect();
    match args.output.output {
        Format::Json => output::print_json(&played)?,
        Format::Table => output::print(&table(&played))?,
    }
    Ok(Exit::Done)
}

fn workload(args: &SimulateArgs, memory: u64) -> Result<Workload, Failure> {
    let Some(file) = &args.trace else {
        return Ok(generate(&Recipe {
            jobs: usize::try_from(args.jobs).unwrap_or(usize::MAX),
            seed: args.seed,
            cores: args.cores,
            memory,
            load: f64::from(args.load) / 100.0,
            tenants: args.tenants,
        }));
    };
    let unreadable =
        |why: String| Failure::new(Exit::Usage, format!("{} can't be read: {why}", file.display()));
    let size = fs::metadata(file).map_err(|e| unreadable(e.to_string()))?.len();
    if size > MAX_TRACE {
        return Err(unreadable(format!("it has {}", memory::display(size))));
    }
    let bytes = fs::read(file).map_err(|e| unreadable(e.to_string()))?;
    let trace = swf::parse(&String::from_utf8_lossy(&bytes));
    for complaint in &trace.complaints {
        output::say(&format!("warning: {}", output::one_line(complaint)));
    }
    if trace.skipped > trace.complaints.len() {
        output::say(&format!("warning: {} lines are no jobs", trace.skipped));
    }
    if trace.workload.tasks.is_empty() {
        return Err(unreadable("there is no job in it".to_owned())
            .hint("a trace in the Standard Workload Format has 18 numbers on each line"));
    }
    Ok(trace.workload)
}

/// A row of the table: what it is, and its figure.
type Row = (&'static str, fn(&Figures) -> String);

const ROWS: [Row; 16] = [
    ("jobs", |f| f.jobs.to_string()),
    ("never started", |f| f.never.to_string()),
    ("backfilled", |f| f.backfilled.to_string()),
    ("wait, mean (s)", |f| format!("{:.0}", f.wait.mean)),
    ("wait, median (s)", |f| format!("{:.0}", f.wait.median)),
    ("wait, p95 (s)", |f| format!("{:.0}", f.wait.p95)),
    ("wait, longest (s)", |f| format!("{:.0}", f.wait.max)),
    ("waited over 6 h", |f| f.long_waits.to_string()),
    ("slowdown, mean", |f| format!("{:.2}", f.slowdown.mean)),
    ("slowdown, median", |f| format!("{:.2}", f.slowdown.median)),
    ("slowdown, p95", |f| format!("{:.2}", f.slowdown.p95)),
    ("slowdown, greatest", |f| format!("{:.2}", f.slowdown.max)),
    ("utilisation (%)", |f| format!("{:.1}", f.utilisation * 100.0)),
    ("makespan (h)", |f| format!("{:.1}", f.makespan / 3_600.0)),
    ("fairness (Jain)", |f| format!("{:.3}", f.fairness)),
    ("tenants", |f| f.tenants.len().to_string()),
];

fn table(played: &[Played]) -> String {
    let mut text = format!("{:<20}", "");
    for p in played {
        let _ = write!(text, "{:>12}", p.policy);
    }
    text.push('\n');
    for (what, figure) in ROWS {
        let _ = write!(text, "{what:<20}");
        for p in played {
            let _ = write!(text, "{:>12}", figure(&p.figures));
        }
        text.push('\n');
    }
    if let [one, other] = played
        && one.figures.slowdown.mean > 0.0
    {
        let times = other.figures.slowdown.mean / one.figures.slowdown.mean;
        let _ = writeln!(
            text,
            "\nThe mean slowdown of {} is {times:.1} times that of {}.",
            other.policy, one.policy
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_policies_stand_beside_each_other() {
        let figures = |mean| Figures {
            jobs: 2,
            slowdown: libra_core::simulate::Spread { mean, median: 1.0, p95: mean, max: mean },
            ..Figures::default()
        };
        let text = table(&[
            Played { policy: "libra", figures: figures(2.0) },
            Played { policy: "fifo", figures: figures(9.0) },
        ]);
        assert!(text.contains("slowdown, mean              2.00        9.00\n"), "{text}");
        assert!(text.ends_with("The mean slowdown of fifo is 4.5 times that of libra.\n"), "{text}");
    }
}
