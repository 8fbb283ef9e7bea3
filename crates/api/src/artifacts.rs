//! Uploads by digest: `/api/v1/artifacts`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that was uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactView {
    /// What `file`, `jars`, `pyFiles`, `files` and `archives` take, with `#` and a file name behind it.
    #[schema(example = "artifact:sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")]
    pub artifact: String,
    /// Bytes.
    pub size: u64,
}
