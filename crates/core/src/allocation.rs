//! What a job asks of a batch scheduler (contract H6).

pub mod spark;

use serde::{Deserialize, Serialize};

/// What a job asks of a batch scheduler. None leaves the choice to the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Allocation {
    /// A partition, or several with commas between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// The account to charge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// A quality of service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    /// The scheduler's own time limit, in minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_limit_minutes: Option<u32>,
    /// Nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u32>,
    /// Tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u32>,
    /// Processors for each task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus_per_task: Option<u32>,
    /// Memory on each node, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// GPUs of the whole job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u32>,
    /// Tasks of an array, as `0-9%2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub array: Option<String>,
    /// Features that its nodes have to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
    /// A reservation to run in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation: Option<String>,
    /// Whether the scheduler itself may run it again after a node was lost; unless it says so, it may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requeue: Option<bool>,
    /// Where it begins, on the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// A file for its standard output, on the nodes; Libra does not read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// A file for its standard error, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
}

/// The most nodes, tasks, processors or GPUs that are believed.
const MOST: u32 = 1_000_000;
/// The longest value of an option in a script, in bytes.
const MOST_BYTES: usize = 1_024;
/// What marks a line of a script that is meant for `sbatch`.
const DIRECTIVE: &str = "#SBATCH";

impl Allocation {
    /// This, and what it does not say as `those` say it.
    #[must_use]
    pub fn or(self, those: Self) -> Self {
        Self {
            partition: self.partition.or(those.partition),
            account: self.account.or(those.account),
            qos: self.qos.or(those.qos),
            time_limit_minutes: self.time_limit_minutes.or(those.time_limit_minutes),
            nodes: self.nodes.or(those.nodes),
            tasks: self.tasks.or(those.tasks),
            cpus_per_task: self.cpus_per_task.or(those.cpus_per_task),
            memory_mb: self.memory_mb.or(those.memory_mb),
            gpus: self.gpus.or(those.gpus),
            array: self.array.or(those.array),
            constraint: self.constraint.or(those.constraint),
            reservation: self.reservation.or(those.reservation),
            requeue: self.requeue.or(those.requeue),
            directory: self.directory.or(those.directory),
            stdout: self.stdout.or(those.stdout),
            stderr: self.stderr.or(those.stderr),
        }
    }

    /// Nodes, at least.
    pub fn least_nodes(&self) -> u32 {
        self.nodes.unwrap_or(1).max(1)
    }

    /// Processors of the whole job, at least.
    pub fn least_cpus(&self) -> u32 {
        let tasks = self.tasks.unwrap_or(1).max(self.least_nodes());
        tasks.saturating_mul(self.cpus_per_task.unwrap_or(1).max(1))
    }

    /// Memory of the whole job, in MiB; 0 where nothing is asked for.
    pub fn memory_of_all_mb(&self) -> u64 {
        self.memory_mb.unwrap_or(0).saturating_mul(u64::from(self.least_nodes()))
    }
}

/// Reads the lines of a script that are meant for `sbatch`, and takes the mark away from them: only one of the doors to
/// a scheduler would read them. Answers what they ask for, a name for the job, and the script without them.
///
/// # Errors
/// The first option that is unknown here, or that has no such value, in words.
pub fn of_script(script: &str) -> Result<(Allocation, Option<String>, String), String> {
    let mut asked = Allocation::default();
    let mut name = None;
    let mut rest = String::with_capacity(script.len());
    let mut in_head = true;
    for line in script.split_inclusive('\n') {
        // sbatch looks no further than the first command.
        in_head = in_head && (line.trim().is_empty() || line.starts_with('#'));
        match line.strip_prefix(DIRECTIVE) {
            Some(options) if in_head && options.starts_with(char::is_whitespace) => {
                read(options, &mut asked, &mut name)?;
                rest.push('#');
            }
            Some(_) | None => {}
        }
        rest.push_str(line);
    }
    Ok((asked, name, rest))
}

fn read(line: &str, asked: &mut Allocation, job_name: &mut Option<String>) -> Result<(), String> {
    let mut words = words(line)?.into_iter();
    while let Some(word) = words.next() {
        if word.starts_with('#') {
            return Ok(());
        }
        let (option, value) = split(&word);
        let mut value = || {
            value
                .clone()
                .or_else(|| words.next())
                .filter(|value| value.len() <= MOST_BYTES)
                .ok_or_else(|| format!("`{option}` in the script has no value, or too long a one"))
        };
        let wrong = |value: &str| format!("`{option}` in the script can't be `{value}`");
        let count = |value: String| match value.parse::<u32>() {
            Ok(count) if (1..=MOST).contains(&count) => Ok(count),
            Ok(_) | Err(_) => Err(wrong(&value)),
        };
        match option.as_str() {
            "--job-name" | "-J" => *job_name = Some(value()?),
            "--partition" | "-p" => asked.partition = Some(value()?),
            "--account" | "-A" => asked.account = Some(value()?),
            "--qos" | "-q" => asked.qos = Some(value()?),
            "--array" | "-a" => asked.array = Some(value()?),
            "--constraint" | "-C" => asked.constraint = Some(value()?),
            "--reservation" => asked.reservation = Some(value()?),
            "--chdir" | "-D" => asked.directory = Some(value()?),
            "--output" | "-o" => asked.stdout = Some(value()?),
            "--error" | "-e" => asked.stderr = Some(value()?),
            "--nodes" | "-N" => asked.nodes = Some(count(value()?)?),
            "--ntasks" | "-n" => asked.tasks = Some(count(value()?)?),
            "--cpus-per-task" | "-c" => asked.cpus_per_task = Some(count(value()?)?),
            "--gpus" | "-G" => asked.gpus = Some(count(value()?)?),
            "--requeue" => asked.requeue = Some(true),
            "--no-requeue" => asked.requeue = Some(false),
            "--time" | "-t" => {
                let value = value()?;
                asked.time_limit_minutes = Some(minutes(&value).ok_or_else(|| wrong(&value))?);
            }
            "--mem" => {
                let value = value()?;
                asked.memory_mb = Some(mebibytes(&value).ok_or_else(|| wrong(&value))?);
            }
            _ => {
                return Err(format!(
                    "the script asks for `{option}`, which Libra does not pass on; take that line away, or submit it with sbatch"
                ));
            }
        }
    }
    Ok(())
}

/// An option and the value that is written in the same word.
fn split(word: &str) -> (String, Option<String>) {
    if word.starts_with("--") {
        return match word.split_once('=') {
            Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
            None => (word.to_owned(), None),
        };
    }
    match word.char_indices().nth(2) {
        Some((at, _)) if word.starts_with('-') => {
            (word[..at].to_owned(), Some(word[at..].trim_start_matches('=').to_owned()))
        }
        Some(_) | None => (word.to_owned(), None),
    }
}

/// The words of a line; blanks in quotes are part of a word.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.trim().chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, _) if c.is_whitespace() => all.extend(word.take()),
            (Some(_) | None, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(format!("a quote is not closed in `{}` of the script", line.trim()));
    }
    all.extend(word);
    Ok(all)
}

/// How many tasks an array has: 4 of `0-3`, 3 of `1,3,5`, 4 of `0-15:4%2`. None where that can't be told.
pub fn tasks_of(array: &str) -> Option<u64> {
    let tasks = array.split('%').next()?;
    tasks.split(',').try_fold(0u64, |sum, part| {
        let (range, step) = part.split_once(':').unwrap_or((part, "1"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last, step): (u64, u64, u64) =
            (first.parse().ok()?, last.parse().ok()?, step.parse().ok().filter(|step| *step > 0)?);
        sum.checked_add(last.checked_sub(first)? / step + 1)
    })
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

    #[test]
    fn what_sbatch_would_read_is_read() {
        let script = "#!/bin/bash\n#SBATCH --job-name=\"two words\" -p gpu,cpu\n#SBATCH -N2 --ntasks 8 # as many\n\n# a word\n\
                      #SBATCH --time=1-02:03:04 --mem=4G\n#SBATCH -G 3 --no-requeue\nhostname\n#SBATCH --nonsense\n";
        let (asked, name, rest) = of_script(script).unwrap();
        let wanted = Allocation {
            partition: Some("gpu,cpu".to_owned()),
            nodes: Some(2),
            tasks: Some(8),
            time_limit_minutes: Some(26 * 60 + 4),
            memory_mb: Some(4096),
            gpus: Some(3),
            requeue: Some(false),
            ..Allocation::default()
        };
        assert_eq!((asked, name.as_deref()), (wanted, Some("two words")));
        assert!(rest.contains("\n##SBATCH -N2"), "its lines stay for people");
        assert!(rest.contains("\n#SBATCH --nonsense"), "after the first command nothing is read");
    }

    #[test]
    fn what_is_not_passed_on_is_said() {
        for (line, says) in [
            ("--exclusive", "`--exclusive`"),
            ("--nodes=0", "can't be `0`"),
            ("--nodes=1-4", "can't be `1-4`"),
            ("--time=soon", "can't be `soon`"),
            ("--partition", "has no value"),
            ("--comment='x", "quote"),
        ] {
            let why = of_script(&format!("#!/bin/sh\n#SBATCH {line}\ntrue\n")).unwrap_err();
            assert!(why.contains(says), "{line}: {why}");
        }
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

    #[test]
    fn the_tasks_of_an_array_are_counted() {
        for (text, wanted) in [
            ("0-3", Some(4)),
            ("7", Some(1)),
            ("1,3,5-6%2", Some(4)),
            ("0-15:4", Some(4)),
            ("3-1", None),
            ("0-3:0", None),
            ("0x3F8", None),
            ("", None),
        ] {
            assert_eq!(tasks_of(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_said_beside_the_script_counts() {
        let (beside, within) = (
            Allocation { nodes: Some(1), ..Allocation::default() },
            Allocation { nodes: Some(4), tasks: Some(8), ..Allocation::default() },
        );
        let asked = beside.or(within);
        assert_eq!((asked.nodes, asked.tasks, asked.least_cpus()), (Some(1), Some(8), 8));
        assert_eq!(Allocation { nodes: Some(3), ..Allocation::default() }.least_cpus(), 3);
    }

    proptest::proptest! {
        #[test]
        fn no_script_makes_it_panic(line in "(--|-)?[a-zA-Z-]{0,12}[ =]?.{0,20}", more in ".*") {
            if let Ok((_, _, rest)) = of_script(&format!("#!/bin/sh\n#SBATCH {line}\n{more}")) {
                proptest::prop_assert!(of_script(&rest).is_ok_and(|(asked, name, _)| asked == Allocation::default() && name.is_none()));
            }
        }
    }
}
