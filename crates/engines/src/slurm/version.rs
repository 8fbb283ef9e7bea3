//! The versions of slurmrestd's API.

/// A version of the API. Slurm has three or so at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApiVersion {
    /// v0.0.38, of Slurm 22.05.
    V38,
    /// v0.0.39, of Slurm 23.02.
    V39,
    /// v0.0.40, of Slurm 23.11.
    V40,
    /// v0.0.41, of Slurm 24.05.
    V41,
    /// v0.0.42, of Slurm 24.11.
    V42,
}

impl ApiVersion {
    /// All of them, the newest first.
    pub const NEWEST_FIRST: [Self; 5] = [Self::V42, Self::V41, Self::V40, Self::V39, Self::V38];

    /// As it is in a path: `v0.0.38`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V38 => "v0.0.38",
            Self::V39 => "v0.0.39",
            Self::V40 => "v0.0.40",
            Self::V41 => "v0.0.41",
            Self::V42 => "v0.0.42",
        }
    }

    /// Reads that spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::NEWEST_FIRST.into_iter().find(|version| version.as_str() == text)
    }
}
