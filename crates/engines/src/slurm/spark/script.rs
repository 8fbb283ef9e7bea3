//! The batch script in which a standalone Spark lives as long as the job that it is for.

use std::fmt::Write as _;

use libra_core::allocation::spark::{DAEMON_HEAP_MB, Layout};

/// The master has to listen, and then the workers to be there, within so many seconds.
const START_SECONDS: u32 = 180;
/// What is the same for every job.
const BODY: &str = include_str!("allocation.sh");
/// The option before the master, whose address is found in the allocation.
const MASTER_OPTION: &str = "--master";

/// The script that starts a master and workers as `layout` says, runs the spark-submit of `argv` with that master, ends all
/// of it and exits with the exit code of spark-submit.
pub(super) fn script(argv: &[String], layout: &Layout) -> String {
    let master_at = argv.iter().position(|word| word == MASTER_OPTION).map_or(0, |at| at + 1);
    let mut text = String::from(
        "#!/bin/bash\n# A Spark of its own for one job of Libra's: master and workers in this allocation, and the job beside them.\n",
    );
    let (first, others) = (layout.first, layout.others);
    let other_nodes = if others.cores > 0 { layout.nodes - 1 } else { 0 };
    let figures = [
        ("start_seconds", u64::from(START_SECONDS)),
        ("daemon_mb", DAEMON_HEAP_MB),
        ("workers", u64::from(layout.workers())),
        ("first_cores", u64::from(first.cores)),
        ("first_mb", first.memory_mb),
        ("other_nodes", u64::from(other_nodes)),
        ("other_cores", u64::from(others.cores)),
        ("other_mb", others.memory_mb),
        ("cpus", u64::from(layout.cpus)),
        ("master_at", u64::try_from(master_at).unwrap_or_default()),
    ];
    for (name, figure) in figures {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{name}={figure}");
    }
    text.push_str("command=(\n");
    for word in argv {
        text.push_str("  ");
        quote(&mut text, word);
        text.push('\n');
    }
    text.push_str(")\n");
    text.push_str(BODY);
    text
}

/// A word as bash takes it, whatever is in it. What would end a line is spelt: Slurm takes no carriage return.
fn quote(text: &mut String, word: &str) {
    if !word.contains(|c: char| c.is_ascii_control()) {
        text.push('\'');
        text.push_str(&word.replace('\'', r"'\''"));
        text.push('\'');
        return;
    }
    text.push_str("$'");
    for c in word.chars() {
        match c {
            '\'' | '\\' => text.extend(['\\', c]),
            c if c.is_ascii_control() => {
                let _ = write!(text, "\\{:03o}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('\'');
}

#[cfg(test)]
#[path = "running_tests.rs"]
mod running_tests;
#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::process::Command;

    use libra_core::allocation::Allocation;

    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn layout() -> Layout {
        let config =
            BTreeMap::from([("spark.executor.instances", "5"), ("spark.executor.cores", "2")].map(own));
        Layout::of(&config, &Allocation { nodes: Some(2), ..Allocation::default() }).unwrap()
    }

    fn own((key, value): (&str, &str)) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn a_job_has_this_script() {
        let argv = words(&[
            "/spark/bin/spark-submit",
            "--master",
            "spark://x:1",
            "--name",
            "it's",
            "/a.py",
            "a\n$b",
        ]);
        let text = script(&argv, &layout());
        let (head, body) = text.split_at(text.len() - BODY.len());
        insta::assert_snapshot!(head);
        assert_eq!(body, BODY);
        assert!(BODY.contains("command[master_at]=$address"));
    }

    #[test]
    fn bash_reads_it() {
        let text = script(&words(&["/spark/bin/spark-submit", "--master", "x"]), &layout());
        let out = Command::new("bash").args(["-n", "-c", &text]).output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn every_word_arrives_as_it_was(word in "([^\0]|['\"$`\\\\\n\r\t *!]){0,12}") {
            let mut text = String::from("printf %s ");
            quote(&mut text, &word);
            proptest::prop_assert!(!text.contains(['\r', '\n']));
            let out = Command::new("bash").args(["-c", &text]).output().unwrap();
            proptest::prop_assert_eq!(String::from_utf8_lossy(&out.stdout).into_owned(), word);
        }
    }
}
