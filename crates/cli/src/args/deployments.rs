//! The options of the commands for deployments.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::ConnectArgs;

const AFTER_APPLY: &str = "\
Examples:
  libra apply -f orders.yaml
  libra apply -f deployments/ --yes --wait
  envsubst < orders.yaml | libra apply -f - --yes

A YAML file may hold several specifications, with lines `---` between them. All are planned before any is applied: one
that is wrong keeps the others from being applied. What was changed since its plan was made is not applied. With
-o json there is one line of JSON for each deployment.";

const AFTER_PLAN: &str = "\
Examples:
  libra plan -f orders.yaml
  libra plan -f deployments/ --exit-code

Exit codes with --exit-code:
  0  nothing changes
  1  there is no plan: a specification is wrong, or Libra did not answer
  2  something changes";

const AFTER_SCHEMA: &str = "\
Example:
  libra schema deployment > deployment.schema.json

The first line of a specification then names it:
  # yaml-language-server: $schema=deployment.schema.json";

/// What is asked about deployments: Flink jobs that are declared, and kept as they are declared.
#[derive(Debug, Subcommand)]
pub(crate) enum DeploymentCommand {
    /// Make Flink jobs what their specifications say; shows what changes, and asks.
    Apply(ApplyArgs),
    /// Show what `apply` would change.
    Plan(PlanArgs),
    /// List deployments of Flink jobs.
    Deployments(ConnectArgs),
    /// Show one deployment.
    Deployment(DeploymentArgs),
    /// Show a deployment's generations, newest first, and what happened to it.
    History(DeploymentArgs),
    /// Go back to an older generation of a deployment, with its state.
    Rollback(RollbackArgs),
    /// Stop a deployment's job with a savepoint, until it is resumed.
    Suspend(DeploymentArgs),
    /// Let a suspended, failed or completed deployment go on.
    Resume(ResumeArgs),
    /// Make a savepoint; the job runs on.
    Savepoint(SavepointArgs),
    /// End a deployment's job and forget the deployment; asks first.
    Delete(DeleteArgs),
    /// Print a JSON Schema, for editors that complete and check what you write.
    Schema(SchemaArgs),
}

/// Where specifications are read.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// A file, a directory (every .yaml, .yml and .json in it), or `-` for standard input; may be given again.
    #[arg(short, long = "file", value_name = "PATH", required = true)]
    pub(crate) files: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = AFTER_SCHEMA)]
pub(crate) struct SchemaArgs {
    /// Of what.
    #[arg(value_enum)]
    pub(crate) of: SchemaOf,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// What has a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// The specification of a Flink job.
    Deployment,
}

#[derive(Debug, Args)]
#[command(after_help = AFTER_APPLY)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Wait until every deployment is stable or completed; fail when one is not.
    #[arg(short, long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
#[command(after_help = AFTER_PLAN)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
    /// Let the exit code say whether something changes.
    #[arg(long)]
    pub(crate) exit_code: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeploymentArgs {
    /// The deployment: the `job_id` of its specification.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The deployment: the `job_id` of its specification.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// To this generation (`libra history ID`); without it, to the last stable one before the newest.
    #[arg(long, value_name = "GENERATION", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) to: Option<u64>,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The deployment: the `job_id` of its specification.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Begin with this savepoint or checkpoint, as Flink writes its path; without it, with the one that it left.
    #[arg(long, value_name = "STATE")]
    pub(crate) from: Option<String>,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SavepointArgs {
    /// The deployment: the `job_id` of its specification.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Wait until it is made, and print its path.
    #[arg(short, long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The deployment: the `job_id` of its specification.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Make no last savepoint.
    #[arg(long)]
    pub(crate) no_savepoint: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// Versions of programs in Libra's own store.
#[derive(Debug, Subcommand)]
pub(crate) enum ArtifactCommand {
    /// Upload a file as a version of an artifact; a deployment names it as `artifact:NAME@VERSION`.
    Push(ArtifactPushArgs),
    /// List the versions of an artifact, newest first.
    List(ArtifactListArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ArtifactPushArgs {
    /// The file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The artifact's name.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
    /// The version; it is written once.
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: String,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ArtifactListArgs {
    /// The artifact's name.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}
