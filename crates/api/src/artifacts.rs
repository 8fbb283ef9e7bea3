//! Uploads by digest: `/api/v1/artifacts`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that was uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactView {
    /// What `file`, `jars`, `pyFiles`, `files` and `archives` take, with `#` and a file name behind it; under a name and a
    /// version, what `artifact_path` of a deployment takes.
    #[schema(example = "artifact:sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")]
    pub artifact: String,
    /// Bytes.
    pub size: u64,
}

/// A version of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactVersionView {
    /// What `artifact_path` of a deployment takes.
    #[schema(example = "artifact:etl@1.4.0")]
    pub artifact: String,
    /// The version.
    pub version: String,
    /// Of its bytes: `sha256:` and 64 digits.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// When it was uploaded under this name.
    pub created_at: String,
    /// By whom.
    pub created_by: String,
}

/// Versions of an artifact, newest first, at most 1,000.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactVersionListView {
    /// The versions.
    pub versions: Vec<ArtifactVersionView>,
}
