//! What is asked of Slurm for a job, and what is wrong with it before.

use libra_core::allocation::Allocation;
use libra_core::failure::Failure;
use libra_core::spec::{JobSpec, Source};

use super::Cluster;
use crate::attempt_dir::AttemptDir;
use crate::engine::Launch;
use crate::slurm::{Submission, spark};
use crate::spark_submit;

/// Where a job begins whose directory nobody has named, on nodes that don't see Libra's files.
const ANYWHERE: &str = "/tmp";
/// A script of which nothing is to be said.
const ANY_SCRIPT: &str = "#!/bin/sh\n";

/// What Slurm calls the job of an attempt.
pub(super) fn name_of(launch: &Launch) -> String {
    launch.spec.name.clone().unwrap_or_else(|| format!("libra-{}", launch.job_id))
}

/// Everything that is wrong with a specification: JSON pointer and reason.
pub(super) fn violations(spec: &JobSpec, cluster: Option<&Cluster>) -> Vec<(String, String)> {
    if spark::is_spark(spec.kind) {
        let wrong = spark::violations(spec, cluster.is_none_or(|cluster| cluster.shares_files));
        // What is sent has the environment that was looked at there.
        return if wrong.is_empty() { flaw(spec, ANY_SCRIPT, cluster) } else { wrong };
    }
    let mut wrong = match &spec.source {
        Source::File(_) => {
            vec![("/file".to_owned(), "a script is sent as its text; put it into `code`".to_owned())]
        }
        Source::Code(script) => flaw(spec, script, cluster),
    };
    let without_effect = [
        ("/sparkConfig", !spec.spark_config.is_empty()),
        ("/className", spec.class_name.is_some()),
        ("/jars", !spec.jars.is_empty()),
        ("/pyFiles", !spec.py_files.is_empty()),
        ("/files", !spec.files.is_empty()),
        ("/archives", !spec.archives.is_empty()),
        ("/packages", !spec.packages.is_empty()),
        ("/proxyUser", spec.proxy_user.is_some()),
    ];
    let idle = without_effect.iter().filter(|(_, given)| *given);
    wrong.extend(
        idle.map(|(pointer, _)| ((*pointer).to_owned(), "has no effect on a script for Slurm".to_owned())),
    );
    wrong
}

/// What no cluster would take of it.
fn flaw(spec: &JobSpec, script: &str, cluster: Option<&Cluster>) -> Vec<(String, String)> {
    let Some(cluster) = cluster else { return Vec::new() };
    let asked = spec.slurm.clone().unwrap_or_default();
    let mut wrong: Vec<(String, String)> =
        asked.flaws().into_iter().map(|wrong| (format!("/slurm/{}", wrong.name), wrong.reason)).collect();
    if cluster.shares_files
        && asked.array.is_some()
        && asked.stdout.is_none()
        && asked.open_mode.as_deref() == Some("truncate")
    {
        let reason = "would let each task of the array remove what the others have written to the job's log; name a file in \
                      `stdout`, as `out-%a.txt`";
        wrong.push(("/slurm/openMode".to_owned(), reason.to_owned()));
    }
    if !wrong.is_empty() {
        return wrong;
    }
    let any = || String::from("a");
    let sent = submission(spec, asked, script.to_owned(), cluster, &AttemptDir::new("/"), any(), any());
    sent.check().err().into_iter().map(|flaw| (flaw.pointer, flaw.words)).collect()
}

/// What is sent for an attempt. Of a Spark job, this writes its files.
///
/// # Errors
/// Why it can't be sent, in words for who asked.
pub(super) fn submission_of(
    launch: &Launch,
    cluster: &Cluster,
    settings: &spark_submit::Settings,
    dir: &AttemptDir,
) -> Result<Submission, Failure> {
    let spec = &launch.spec;
    let of = |asked: Allocation, script: String| {
        submission(spec, asked, script, cluster, dir, launch.token.to_string(), name_of(launch))
    };
    let asked = spec.slurm.clone().unwrap_or_default();
    let mut sent = if spark::is_spark(spec.kind) {
        let prepared = spark::prepare(settings, cluster.spark_home.as_deref(), launch, dir)?;
        let sent = of(prepared.layout.allocation(&asked), prepared.script);
        Submission { environment: prepared.environment, ..sent }
    } else {
        let script = match &spec.source {
            Source::Code(text) | Source::File(text) => text.clone(),
        };
        of(asked, script)
    };
    sent.environment.insert("LIBRA_JOB_ID".to_owned(), launch.job_id.to_string());
    sent.environment.insert("LIBRA_ATTEMPT".to_owned(), launch.attempt.to_string());
    Ok(sent)
}

/// Removes what may hold secrets of an attempt that has ended, or of which nothing was sent.
pub(super) fn forget(launch: &Launch, dir: &AttemptDir) {
    if spark::is_spark(launch.spec.kind) {
        spark::forget(dir);
    }
}

fn submission(
    spec: &JobSpec,
    mut asked: Allocation,
    script: String,
    cluster: &Cluster,
    dir: &AttemptDir,
    token: String,
    name: String,
) -> Submission {
    // Slurm fills in patterns where there are percent signs.
    let path = |path: std::path::PathBuf| path.to_string_lossy().replace('%', "%%");
    if cluster.shares_files {
        let own = || dir.work_dir().to_string_lossy().into_owned();
        asked.directory = Some(asked.directory.unwrap_or_else(own));
        // Who names one file for both has both in it.
        asked.stderr = asked.stderr.or_else(|| asked.stdout.is_none().then(|| path(dir.stderr())));
        asked.stdout = asked.stdout.or_else(|| Some(path(dir.stdout())));
    } else {
        asked.directory = Some(asked.directory.unwrap_or_else(|| ANYWHERE.to_owned()));
    }
    Submission {
        script,
        // Those of a Spark job are its program's, and are in its script.
        arguments: if spark::is_spark(spec.kind) { Vec::new() } else { spec.args.clone() },
        token,
        name: Some(spec.name.clone().unwrap_or(name)),
        asked,
        environment: spec.env.clone(),
    }
}

/// Makes what the job finds on its nodes.
pub(super) fn prepare(dir: &AttemptDir, cluster: &Cluster) -> std::io::Result<()> {
    if cluster.shares_files {
        std::fs::create_dir_all(dir.work_dir())?;
        for file in [dir.stdout(), dir.stderr()] {
            std::fs::OpenOptions::new().create(true).append(true).open(file)?;
        }
    }
    Ok(())
}
