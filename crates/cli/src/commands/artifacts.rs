//! `libra artifact`.

use libra_api::artifacts::ArtifactVersionListView;

use super::{connect, show};
use crate::args::{ArtifactCommand, ArtifactListArgs, ArtifactPushArgs};
use crate::failure::{Exit, Failure};
use crate::listing::columns;
use crate::{output, uploads};

pub(super) async fn run(command: &ArtifactCommand) -> Result<Exit, Failure> {
    match command {
        ArtifactCommand::Push(args) => push(args).await,
        ArtifactCommand::List(args) => list(args).await,
    }
}

async fn push(args: &ArtifactPushArgs) -> Result<Exit, Failure> {
    let client = connect(&args.connect)?;
    let view = uploads::send_version(&client, &args.file, (&args.name, &args.version)).await?;
    show(&args.connect, &view, |view| format!("{} is kept\n", output::one_line(&view.artifact)))
}

async fn list(args: &ArtifactListArgs) -> Result<Exit, Failure> {
    let list = connect(&args.connect)?.artifact_versions(&args.name).await?;
    show(&args.connect, &list, table)
}

fn table(list: &ArtifactVersionListView) -> String {
    let rows = list.versions.iter().map(|of| {
        [
            of.version.clone(),
            of.created_at.clone(),
            of.created_by.clone(),
            of.size.to_string(),
            of.digest.clone(),
        ]
    });
    columns(["VERSION", "UPLOADED", "BY", "BYTES", "DIGEST"], rows)
}
