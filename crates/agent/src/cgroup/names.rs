//! What Slurm calls its directories.

/// Digits of a SLUID after its `s`: 65 bits in Crockford's base 32.
const SLUID_DIGITS: usize = 13;

/// How a job's directory names its job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobName {
    /// By its number: `job_17`.
    Number(String),
    /// By its SLUID, from Slurm 26.05 on: `s5K1KKYAYG5D00`. Its number is in its processes' environment.
    Sluid(String),
}

/// A directory that holds Slurm's jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The node, where it is named: Slurm was built for several on one machine, as Debian's is.
    pub node: Option<String>,
}

/// Reads the name of a job's directory.
pub fn job(name: &str) -> Option<JobName> {
    if let Some(number) = name.strip_prefix("job_") {
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        return digits.then(|| JobName::Number(number.to_owned()));
    }
    let digits = name.strip_prefix('s')?;
    let crockford = |byte: u8| {
        byte.is_ascii_digit() || (byte.is_ascii_uppercase() && !matches!(byte, b'I' | b'L' | b'O' | b'U'))
    };
    (digits.len() == SLUID_DIGITS && digits.bytes().all(crockford)).then(|| JobName::Sluid(name.to_owned()))
}

/// Reads the name of the directory that holds the jobs in version 2: `slurmstepd.scope`, `n1_slurmstepd.scope`.
pub fn scope_v2(name: &str) -> Option<Scope> {
    let before = name.strip_suffix("slurmstepd.scope")?;
    if before.is_empty() {
        return Some(Scope { node: None });
    }
    let node = before.strip_suffix('_').filter(|node| !node.is_empty())?;
    Some(Scope { node: Some(node.to_owned()) })
}

/// Reads the name of the directory that holds the users' ones in version 1: `slurm`, `slurm_n1`.
pub fn scope_v1(name: &str) -> Option<Scope> {
    let after = name.strip_prefix("slurm")?;
    if after.is_empty() {
        return Some(Scope { node: None });
    }
    let node = after.strip_prefix('_').filter(|node| !node.is_empty())?;
    Some(Scope { node: Some(node.to_owned()) })
}

/// True for a user's directory in version 1: `uid_1000`.
pub fn is_user(name: &str) -> bool {
    name.strip_prefix("uid_").is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_named_by_number_or_by_sluid() {
        assert_eq!(job("job_17"), Some(JobName::Number("17".to_owned())));
        assert_eq!(job("s5K1KKYAYG5D00"), Some(JobName::Sluid("s5K1KKYAYG5D00".to_owned())));
        for name in [
            "job_",
            "job_x",
            "job_1.2",
            "step_0",
            "s5K1KKYAYG5D0",
            "s5K1KKYAYG5D0I",
            "system",
            "session-2.scope",
        ] {
            assert_eq!(job(name), None, "{name}");
        }
    }

    #[test]
    fn a_scope_may_name_its_node() {
        let node = |scope: Option<Scope>| scope.map(|scope| scope.node);
        assert_eq!(node(scope_v2("slurmstepd.scope")), Some(None));
        assert_eq!(node(scope_v2("n1_slurmstepd.scope")), Some(Some("n1".to_owned())));
        assert_eq!(node(scope_v2("a_b_slurmstepd.scope")), Some(Some("a_b".to_owned())));
        assert_eq!(node(scope_v1("slurm")), Some(None));
        assert_eq!(node(scope_v1("slurm_n1")), Some(Some("n1".to_owned())));
        for name in ["slurmd.service", "xslurmstepd.scope", "_slurmstepd.scope", "slurmstepd", "slurm_"] {
            assert_eq!((scope_v2(name), scope_v1(name)), (None, None), "{name}");
        }
        assert!(is_user("uid_0") && !is_user("uid_") && !is_user("user_1"));
    }

    proptest::proptest! {
        #[test]
        fn no_name_makes_it_panic(name in "\\PC{0,30}", near in "(job_|s|slurm_?|uid_)[0-9A-Z]{0,15}(_slurmstepd.scope)?") {
            for name in [name, near] {
                let _ = (job(&name), scope_v1(&name), scope_v2(&name), is_user(&name));
            }
        }
    }
}
