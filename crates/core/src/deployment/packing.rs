//! How Flink, which takes nothing but jars, is given a program that is none.

use super::declared::Generation;
use super::normal::Normal;
use super::spec::ArtifactType;

/// What has to be made of an artifact before it is uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Nothing: it is a jar. So is what runs the statements of a specification.
    None,
    /// A file of statements goes into a jar with what runs them.
    Statements,
    /// A Python program or an archive of modules goes into a jar with what begins it.
    Python,
}

impl Packing {
    /// Part of the name of the upload, since the same bytes may be a program of two kinds. The number is raised when what
    /// is put beside the program is told something else than before: uploads of an earlier Libra are then left alone.
    fn mark(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Statements => "sql1",
            Self::Python => "python1",
        }
    }
}

impl Normal {
    /// What has to be made of the artifact.
    pub fn packing(&self) -> Packing {
        match self.artifact_type {
            ArtifactType::Jar => Packing::None,
            ArtifactType::Python => Packing::Python,
            ArtifactType::Sql => {
                let file = self.artifact_path.as_deref().map(ArtifactType::of_path);
                if file == Some(ArtifactType::Sql) { Packing::Statements } else { Packing::None }
            }
        }
    }
}

impl Generation {
    /// The name under which its program is uploaded, without `.jar`: the artifact's digest, and how it was packed.
    pub fn upload_name(&self) -> String {
        format!("{}{}", self.digest, self.normal.packing().mark())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_as_programs_of_two_kinds_are_two_uploads() {
        let named = |rest: &str| {
            let text = format!(r#"{{"job_id": "etl", "job_type": "stream", {rest}}}"#);
            let normal = Normal::of(&serde_json::from_str(&text).unwrap(), None);
            let packing = normal.packing();
            (packing, Generation { number: 1, normal, digest: "ab".to_owned() }.upload_name())
        };
        for (rest, packing, name) in [
            (r#""artifact_path": "a.jar""#, Packing::None, "ab"),
            (r#""artifact_path": "a.zip", "artifact_type": "jar""#, Packing::None, "ab"),
            (r#""artifact_path": "a.zip", "entry_class": "a""#, Packing::Python, "abpython1"),
            (r#""artifact_path": "a.py""#, Packing::Python, "abpython1"),
            (r#""artifact_path": "a.sql""#, Packing::Statements, "absql1"),
            (r#""sql": "INSERT INTO a SELECT 1""#, Packing::None, "ab"),
            (r#""sql": "INSERT INTO a SELECT 1", "artifact_path": "runner.jar""#, Packing::None, "ab"),
        ] {
            assert_eq!(named(rest), (packing, name.to_owned()), "{rest}");
        }
    }
}
