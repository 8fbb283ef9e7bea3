//! How the values of what can be asked for are written.

use serde_json::Value;

use crate::id::Token;

use super::{MOST, MOST_MEMORY_MB, MOST_MINUTES};

/// The longest name, in bytes.
const MOST_NAME_BYTES: usize = 256;
/// The longest path, in bytes.
const MOST_PATH_BYTES: usize = 8 * 1_024;
/// The longest of all other values, in bytes.
const MOST_BYTES: usize = 1_024;
/// The longest time that a signal comes before the end, in seconds: what Slurm keeps it in.
const MOST_SIGNAL_SECONDS: u32 = 65_535;
/// What a job can wait for, before the numbers of jobs.
const DEPENDENCIES: [&str; 6] =
    ["after", "afterany", "afterok", "afternotok", "aftercorr", "afterburstbuffer"];
/// Signals that Slurm knows by name, without their `SIG`.
const SIGNALS: [&str; 13] =
    ["HUP", "INT", "QUIT", "ABRT", "KILL", "ALRM", "TERM", "USR1", "USR2", "URG", "CONT", "STOP", "XCPU"];

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// A whole number, at least 1.
    Count,
    /// A number of minutes; in a script in any way of Slurm's.
    Minutes,
    /// A number of MiB; in a script with a unit.
    Memory,
    /// Yes or no.
    Flag,
    /// A word of Slurm's, or several.
    Name,
    /// A path, or a pattern for one.
    Path,
    /// `0-9%2`.
    Array,
    /// `2`, `a100:2`.
    Gpus,
    /// `gpu:a100:2,shard:4`.
    Gres,
    /// `afterok:17`.
    Dependency,
    /// `n1,n[3-5]`.
    Hosts,
    /// One of these.
    Word(&'static [&'static str]),
    /// Some of these, with commas between.
    Words(&'static [&'static str]),
    /// Words for people.
    Comment,
    /// `B:USR1@120`.
    Signal,
}

/// What a value is in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A whole number from 1 to this.
    Number(u64),
    /// True or false.
    Flag,
    /// A text of at most so many bytes.
    Text(usize),
    /// The same; a number or a flag is taken as it is spelled.
    Spelled(usize),
}

impl Syntax {
    /// What its values are in JSON.
    pub fn form(self) -> Form {
        match self {
            Self::Count => Form::Number(MOST),
            Self::Minutes => Form::Number(MOST_MINUTES),
            Self::Memory => Form::Number(MOST_MEMORY_MB),
            Self::Flag => Form::Flag,
            Self::Name | Self::Array => Form::Text(MOST_NAME_BYTES),
            Self::Word(known) if !known.contains(&"true") => Form::Text(MOST_NAME_BYTES),
            Self::Gpus | Self::Word(_) => Form::Spelled(MOST_NAME_BYTES),
            Self::Path => Form::Text(MOST_PATH_BYTES),
            Self::Gres | Self::Dependency | Self::Hosts | Self::Words(_) | Self::Comment | Self::Signal => {
                Form::Text(MOST_BYTES)
            }
        }
    }

    /// What is wrong with a text as such a value, and what would be right.
    pub fn flaw(self, text: &str) -> Option<String> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Some(format!("{text:?} is empty or holds a line's end"));
        }
        let unless = |right: bool, reason: &str| (!right).then(|| reason.to_owned());
        match self {
            Self::Count | Self::Minutes | Self::Memory | Self::Flag | Self::Name | Self::Path => None,
            Self::Array => {
                let is_array = |c: char| c.is_ascii_digit() || "-,%:".contains(c);
                unless(text.chars().all(is_array), "the array is none; hint: `0-9`, `1,3,5` or `0-99%10`")
            }
            Self::Gpus => unless(text.split(',').all(is_gpus), "is no number of GPUs; hint: `2` or `a100:2`"),
            Self::Gres => unless(
                text.split(',').all(is_resource),
                "is no list of resources; hint: `gpu:2` or `gpu:a100:1,shard:4`",
            ),
            Self::Dependency => unless(
                is_dependency(text),
                "is no dependency; hint: `afterok:17`, `afterany:17:18`, `singleton`, with Slurm's numbers (`applicationId`)",
            ),
            Self::Hosts => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.,[]".contains(c);
                let right = text.chars().all(is_name) && are_closed(text) && !text.starts_with(['-', ',']);
                unless(right, "is no list of nodes; hint: `n1,n[3-5]`")
            }
            Self::Word(known) => {
                unless(known.contains(&text), &format!("is not one of {}", known.join(", ")))
            }
            Self::Words(known) => {
                let is_known = |word: &str| known.iter().any(|known| known.eq_ignore_ascii_case(word));
                unless(text.split(',').all(is_known), &format!("is not of {}", known.join(", ")))
            }
            Self::Comment => unless(
                !text.split_whitespace().any(|word| word.parse::<Token>().is_ok()),
                "holds what looks like a token of Libra's, by which it knows its jobs; write it in another way",
            ),
            Self::Signal => unless(
                Signalled::read(text).is_some(),
                "is no signal; hint: `USR1@120`, `B:TERM@60`; a signal by its name or number, then seconds",
            ),
        }
    }

    /// The value that an option of `sbatch` has in a script.
    pub(super) fn of_script(self, text: &str) -> Option<Value> {
        let within = |number: u64, most: u64| (1..=most).contains(&number).then(|| Value::from(number));
        match self {
            Self::Count => within(text.parse().ok()?, MOST),
            Self::Minutes => within(u64::from(minutes(text)?), MOST_MINUTES),
            Self::Memory => within(mebibytes(text)?, MOST_MEMORY_MB),
            Self::Flag => text.parse::<bool>().ok().map(Value::from),
            Self::Name
            | Self::Path
            | Self::Array
            | Self::Gpus
            | Self::Gres
            | Self::Dependency
            | Self::Hosts
            | Self::Word(_)
            | Self::Words(_)
            | Self::Comment
            | Self::Signal => Some(Value::from(text)),
        }
    }
}

/// What `--signal` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signalled {
    /// Whether the script itself gets it, and not its steps.
    pub to_script: bool,
    /// Its name without `SIG`, or its number.
    pub signal: String,
    /// How long before the end, in seconds.
    pub seconds: Option<u32>,
}

impl Signalled {
    /// Reads `[B:]signal[@seconds]`.
    pub fn read(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("B:");
        let (signal, seconds) = match rest.unwrap_or(text).split_once('@') {
            Some((signal, seconds)) => (signal, Some(seconds.parse().ok()?)),
            None => (rest.unwrap_or(text), None),
        };
        let name = signal.strip_prefix("SIG").unwrap_or(signal);
        let is_number = signal.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
        let right = (is_number || SIGNALS.contains(&name))
            && seconds.is_none_or(|seconds| (1..=MOST_SIGNAL_SECONDS).contains(&seconds));
        right.then(|| Self { to_script: rest.is_some(), signal: name.to_owned(), seconds })
    }
}

/// `2`, `a100:2`.
fn is_gpus(text: &str) -> bool {
    let (kind, count) = text.split_once(':').unwrap_or(("a", text));
    is_word(kind) && count.parse::<u64>().is_ok_and(|count| (1..=MOST).contains(&count))
}

/// `gpu`, `gpu:2`, `gpu:a100:2`, `license:3K`.
fn is_resource(text: &str) -> bool {
    let mut parts = text.split(':');
    let name = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let is_count = |text: &str| {
        text.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G', 't', 'T', 'p', 'P']).parse::<u64>().is_ok()
    };
    is_word(name.strip_prefix("gres/").unwrap_or(name))
        && match rest.as_slice() {
            [] => true,
            [one] => is_word(one),
            [kind, count] => is_word(kind) && is_count(count),
            _ => false,
        }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// `afterok:17:18,afterany:19_2`, or with `?` where one of them is enough.
fn is_dependency(text: &str) -> bool {
    let is_number = |text: &str| {
        let (job, delay) = text.split_once('+').unwrap_or((text, "1"));
        let (job, task) = job.split_once('_').unwrap_or((job, "*"));
        let digits = |text: &str| (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        digits(job) && (task == "*" || digits(task)) && digits(delay)
    };
    let is_one = |text: &str| {
        let mut parts = text.split(':');
        let kind = parts.next().unwrap_or_default();
        let numbers: Vec<&str> = parts.collect();
        match numbers.as_slice() {
            [] => kind == "singleton",
            numbers => DEPENDENCIES.contains(&kind) && numbers.iter().all(|number| is_number(number)),
        }
    };
    // One kind of mark alone.
    !(text.contains(',') && text.contains('?')) && text.split([',', '?']).all(is_one)
}

/// True when each bracket has its other one, and none is within another.
fn are_closed(text: &str) -> bool {
    let mut open = false;
    for c in text.chars() {
        match c {
            '[' if !open => open = true,
            ']' if open => open = false,
            '[' | ']' => return false,
            _ => {}
        }
    }
    !open
}

/// Slurm's ways to write a time limit, rounded up to minutes: `30`, `30:00`, `1:30:00`, `2-0`, `2-12:30`, `2-12:30:00`.
fn minutes(text: &str) -> Option<u32> {
    const SECONDS: [u64; 3] = [3_600, 60, 1];
    let (days, clock) = match text.split_once('-') {
        Some((days, clock)) => (Some(days.parse::<u64>().ok()?), clock),
        None => (None, text),
    };
    let parts: Vec<u64> = clock.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    // Beside days hours come first; alone a single number is minutes, and two are minutes and seconds.
    let first = match (days, parts.len()) {
        (Some(_), 1..=3) | (None, 3) => 0,
        (None, 1 | 2) => 1,
        (Some(_) | None, _) => return None,
    };
    let clock = parts
        .iter()
        .zip(&SECONDS[first..])
        .try_fold(0u64, |sum, (part, seconds)| sum.checked_add(part.checked_mul(*seconds)?))?;
    let seconds = days.unwrap_or(0).checked_mul(24 * 3_600)?.checked_add(clock)?;
    u32::try_from(seconds.div_ceil(60)).ok().filter(|minutes| *minutes > 0)
}

/// `4G`, `500M`, `2048` (MiB), `1T`, `2048K`.
fn mebibytes(text: &str) -> Option<u64> {
    let text = text.trim_end_matches(['B', 'b']);
    let number = |text: &str| text.parse::<u64>().ok();
    let mebibytes = match text.char_indices().last()? {
        (at, 'k' | 'K') => number(&text[..at])?.div_ceil(1024),
        (at, 'm' | 'M') => number(&text[..at])?,
        (at, 'g' | 'G') => number(&text[..at])?.checked_mul(1024)?,
        (at, 't' | 'T') => number(&text[..at])?.checked_mul(1024 * 1024)?,
        (_, _) => number(text)?,
    };
    Some(mebibytes).filter(|mebibytes| *mebibytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(syntax: Syntax, right: &[&str], wrong: &[&str]) {
        for text in right {
            assert_eq!(syntax.flaw(text), None, "{text}");
        }
        for text in wrong {
            assert!(syntax.flaw(text).is_some(), "{text}");
        }
    }

    #[test]
    fn values_are_written_as_slurm_reads_them() {
        takes(Syntax::Gpus, &["2", "a100:2", "a100:1,v100:3"], &["0", "", "a100", "a:b:2", "-1", ":2"]);
        takes(
            Syntax::Gres,
            &["gpu", "gpu:2", "gpu:a100:2,shard:4", "gres/gpu:2", "license:3K"],
            &["", "gpu:", "gpu 2", "gpu:a100:many", "a:b:c:1", "gpu;rm"],
        );
        takes(
            Syntax::Dependency,
            &[
                "afterok:17",
                "afterany:17:18,afternotok:19_3",
                "after:17+5?afterok:18",
                "singleton",
                "aftercorr:9_*",
            ],
            &[
                "17",
                "afterok",
                "afterok:",
                "afterok:job-1",
                "after:1,after:2?after:3",
                "later:1",
                "singleton:1",
                "",
            ],
        );
        takes(
            Syntax::Hosts,
            &["n1", "n1,n[3-5]", "gpu-a.site"],
            &["", "n[1", "n]1[", "n[[1]]", "n1;n2", "-n1", "n 1"],
        );
        takes(Syntax::Word(&["true", "user"]), &["true", "user"], &["yes", "", "True"]);
        takes(Syntax::Words(&["END", "FAIL"]), &["END", "end,FAIL"], &["END,", "SOON", ""]);
        takes(
            Syntax::Comment,
            &["a trial, of mine"],
            &["", "a\nb", "see 019ab000-0000-7000-8000-000000000000 there"],
        );
        takes(
            Syntax::Signal,
            &["USR1", "USR1@120", "B:USR1@120", "15@60", "SIGTERM@5"],
            &["", "B:", ":USR1", "R:USR1", "USR9", "0", "99", "USR1@", "USR1@0", "USR1@99999", "USR1@soon"],
        );
    }

    #[test]
    fn times_and_amounts_are_slurms() {
        for (text, wanted) in [
            ("30", Some(30)),
            ("30:01", Some(31)),
            ("1:30:00", Some(90)),
            ("2-0", Some(2_880)),
            ("1-1:30", Some(1_530)),
            ("0", None),
            ("", None),
            ("1-", None),
            ("1:2:3:4", None),
            ("UNLIMITED", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(minutes(text), wanted, "{text}");
        }
        for (text, wanted) in [
            ("4G", Some(4_096)),
            ("500", Some(500)),
            ("1025K", Some(2)),
            ("1TB", Some(1 << 20)),
            ("0", None),
            ("G", None),
            ("é", None),
        ] {
            assert_eq!(mebibytes(text), wanted, "{text}");
        }
    }
}
