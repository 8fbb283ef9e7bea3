//! Whose process it is, by the environment that it was started with.

use std::fs;
use std::path::Path;

use crate::job::Job;

/// The number of a job, as Slurm sets it.
const SLURM_JOB: &str = "SLURM_JOB_ID";
/// The node that a process was started for, where one machine plays several.
const SLURM_NODE: &str = "SLURMD_NODENAME";
/// The GPUs of a job on this node, by the numbers of their device files.
const SLURM_GPUS: &str = "SLURM_JOB_GPUS";
/// The token of an attempt of Libra's own, as its shim sets it.
const ATTEMPT: &str = "LIBRA_ATTEMPT_TOKEN";
/// GPUs in a node, at most; a list that names more is none.
const MOST_GPUS: u32 = 256;
/// A token or a number is no longer than this, in bytes.
const MAX_ID_BYTES: usize = 64;

/// What an environment says of its process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The job that it belongs to.
    pub job: Option<Job>,
    /// The node that it was started for.
    pub node: Option<String>,
    /// The numbers of the GPUs that its job has; None where nothing is said.
    pub gpus: Option<Vec<u32>>,
}

/// Reads `/proc/PID/environ`: `NAME=value` with a zero byte after each.
pub fn parse(environ: &[u8]) -> Marks {
    let of = |name: &str| {
        environ.split(|byte| *byte == 0).find_map(|variable| {
            let value = variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            std::str::from_utf8(value).ok().filter(|value| !value.is_empty())
        })
    };
    // What an attempt has submitted to Slurm inherits its token: Slurm's number is the nearer one.
    let scheduled = of(SLURM_JOB).filter(|id| is_number(id)).map(|id| Job::Scheduled(id.to_owned()));
    let attempt = of(ATTEMPT).filter(|token| is_token(token)).map(|token| Job::Attempt(token.to_owned()));
    Marks {
        job: scheduled.or(attempt),
        node: of(SLURM_NODE).map(str::to_owned),
        gpus: of(SLURM_GPUS).and_then(numbers),
    }
}

/// What the environment of a process says; nothing where it can't be read.
pub fn of(proc: &Path, pid: u32) -> Marks {
    fs::read(proc.join(pid.to_string()).join("environ")).map(|bytes| parse(&bytes)).unwrap_or_default()
}

fn is_number(text: &str) -> bool {
    text.len() <= MAX_ID_BYTES && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_token(text: &str) -> bool {
    text.len() <= MAX_ID_BYTES && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Reads `0,2-3`; None when it is no such list.
pub fn numbers(text: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last < first || last >= MOST_GPUS {
            return None;
        }
        all.extend(first..=last);
    }
    all.sort_unstable();
    all.dedup();
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marks_of_slurm_and_of_libra_are_found() {
        let slurm = parse(b"PATH=/bin\0SLURM_JOB_ID=17\0SLURMD_NODENAME=n1\0SLURM_JOB_GPUS=0,2-3\0");
        assert_eq!(slurm.job, Some(Job::Scheduled("17".to_owned())));
        assert_eq!((slurm.node.as_deref(), slurm.gpus), (Some("n1"), Some(vec![0, 2, 3])));
        let token = "0197a000-0000-7000-8000-000000000001";
        let libra = parse(format!("A=b\0LIBRA_ATTEMPT_TOKEN={token}\0").as_bytes());
        assert_eq!(libra.job, Some(Job::Attempt(token.to_owned())));
        let both = parse(format!("LIBRA_ATTEMPT_TOKEN={token}\0SLURM_JOB_ID=9\0").as_bytes());
        assert_eq!(
            both.job,
            Some(Job::Scheduled("9".to_owned())),
            "what an attempt submits inherits its token"
        );
    }

    #[test]
    fn what_only_looks_like_a_mark_is_none() {
        for text in [
            "",
            "SLURM_JOB_ID=",
            "SLURM_JOB_ID=x",
            "XSLURM_JOB_ID=1",
            "LIBRA_ATTEMPT_TOKEN=a b",
            "SLURM_JOB_ID",
        ] {
            assert_eq!(parse(text.as_bytes()), Marks::default(), "{text}");
        }
        for list in ["", "a", "1-", "3-1", "0-4000000000", "MIG-1,2"] {
            assert_eq!(numbers(list), None, "{list}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), list in "[0-9,-]{0,20}") {
            let _ = (parse(&bytes), numbers(&list));
        }
    }
}
