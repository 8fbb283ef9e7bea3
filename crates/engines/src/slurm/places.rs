//! Where a job writes. Slurm tells what was asked for, as `out/%x-%j.log`, or nothing where it is the default.

use libra_core::hpc::record::{Places, Record};

use super::value::Field;

/// Where a batch job writes that does not say: Slurm's own choice.
const DEFAULT: &str = "slurm-%j.out";
/// The same for a task of an array.
const DEFAULT_OF_TASK: &str = "slurm-%A_%a.out";
/// The widest number that Slurm pads, in digits.
const MOST_WIDTH: usize = 10;

/// The places of a job; `record` is the rest of it. A pattern with a part that is known to Slurm alone (`%N`) is no place.
pub(super) fn of(job: Field<'_>, record: &Record) -> Places {
    let directory = job.at("current_working_directory").text();
    // These are no files yet.
    if record.array_waiting.is_some() {
        return Places { directory, ..Places::default() };
    }
    let place = |names: &[&str]| {
        let pattern = job.any(names).text()?;
        absolute(&expand(&pattern, record)?, directory.as_deref())
    };
    // Jobs of srun and salloc write to a terminal.
    let is_batch = job.at("batch_flag").is_true();
    let default = || {
        let pattern = if record.array.is_some() { DEFAULT_OF_TASK } else { DEFAULT };
        absolute(&expand(pattern, record)?, directory.as_deref())
    };
    let (out, err) = (["stdout_expanded", "standard_output"], ["stderr_expanded", "standard_error"]);
    let says = |names: &[&str]| job.any(names).text().is_some();
    let stdout = if says(&out) {
        place(&out)
    } else if is_batch {
        default()
    } else {
        None
    };
    let stderr = if says(&err) { place(&err) } else { stdout.clone() };
    Places { directory, stdout, stderr }
}

fn absolute(path: &str, directory: Option<&str>) -> Option<String> {
    if path.starts_with('/') {
        return Some(path.to_owned());
    }
    Some(format!("{}/{path}", directory?.trim_end_matches('/')))
}

/// Puts in what Slurm would; None when that is not known here.
fn expand(pattern: &str, record: &Record) -> Option<String> {
    // A backslash turns all of it off.
    if pattern.contains('\\') {
        return None;
    }
    let mut path = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('%') {
        path.push_str(before);
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let width = after[..digits].parse::<usize>().unwrap_or(0).min(MOST_WIDTH);
        let letter = after[digits..].chars().next()?;
        let id = &record.external_id;
        let whole = || record.array.map_or_else(|| id.clone(), |task| task.job.to_string());
        let part = match letter {
            '%' => "%".to_owned(),
            'j' => format!("{id:0>width$}"),
            'A' => format!("{:0>width$}", whole()),
            'a' => format!("{:0>width$}", record.array?.task.to_string()),
            'x' => record.name.clone()?,
            'u' => record.user.clone()?,
            _ => return None,
        };
        path.push_str(&part);
        rest = &after[digits + letter.len_utf8()..];
    }
    path.push_str(rest);
    Some(path)
}

#[cfg(test)]
mod tests {
    use libra_core::hpc::record::ArrayTask;
    use serde_json::json;

    use super::*;

    fn record() -> Record {
        Record {
            external_id: "12".to_owned(),
            name: Some("train".to_owned()),
            user: Some("ada".to_owned()),
            ..Record::default()
        }
    }

    #[test]
    fn patterns_become_paths() {
        let alone = record();
        let task = Record { array: Some(ArrayTask { job: 8, task: 3 }), ..record() };
        let table = [
            ("/out/%j.log", &alone, Some("/out/12.log")),
            ("/out/%x-%u-%4j-100%%", &alone, Some("/out/train-ada-0012-100%")),
            ("/out/%A_%a", &task, Some("/out/8_3")),
            ("/out/%A", &alone, Some("/out/12")),
            ("/out/%a", &alone, None),
            ("/out/%N", &alone, None),
            ("/out/%", &alone, None),
            ("/out/\\%j", &alone, None),
        ];
        for (pattern, record, path) in table {
            assert_eq!(expand(pattern, record).as_deref(), path, "{pattern}");
        }
    }

    #[test]
    fn a_batch_job_that_does_not_say_writes_where_slurm_chooses() {
        let job = json!({"current_working_directory": "/home/ada/", "batch_flag": true, "batch_host": "n1",
            "standard_output": "", "standard_error": ""});
        let places = of(Field::of(&job), &record());
        assert_eq!(places.stdout.as_deref(), Some("/home/ada/slurm-12.out"));
        assert_eq!(places.stderr, places.stdout);
        let job = json!({"current_working_directory": "/home/ada", "batch_flag": false, "standard_output": "",
            "standard_error": "e/%j"});
        let places = of(Field::of(&job), &record());
        assert_eq!((places.stdout, places.stderr.as_deref()), (None, Some("/home/ada/e/12")));
    }
}
