//! Uploaded files, named by their digest: `artifact:sha256:<64 hex digits>#<file name>`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::spec::{JobSpec, Kind, Source};

/// What a reference begins with.
pub const SCHEME: &str = "artifact:";
/// The one digest that is used, as it is spelled in front of the digits.
const ALGORITHM: &str = "sha256:";
/// Hexadecimal digits of a SHA-256.
const DIGITS: usize = 64;
/// The longest file name, in bytes: what file systems take.
const MAX_FILE_NAME_BYTES: usize = 255;

/// The SHA-256 of some bytes: 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

impl Digest {
    /// The digest with these 64 digits, in either case; None for anything else.
    pub fn of_hex(text: &str) -> Option<Self> {
        let fine = text.len() == DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit());
        fine.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The 64 digits.
    pub fn hex(&self) -> &str {
        &self.0
    }
}

/// Written `sha256:<64 digits>`.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}{}", self.0)
    }
}

/// Read as it is written, also without `sha256:` in front.
impl FromStr for Digest {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::of_hex(text.strip_prefix(ALGORITHM).unwrap_or(text))
            .ok_or("must be `sha256:` and 64 hexadecimal digits")
    }
}

/// A reference to an uploaded file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Which bytes.
    pub digest: Digest,
    /// The file's name for the job; None = one that is made up.
    pub name: Option<String>,
    /// For an archive: the directory that it is unpacked into.
    pub directory: Option<String>,
}

impl Reference {
    /// Reads `text`; None when it is no reference to an upload at all.
    ///
    /// # Errors
    /// What is wrong with a reference.
    pub fn read(text: &str) -> Option<Result<Self, &'static str>> {
        Some(Self::parse(text.strip_prefix(SCHEME)?))
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parts = text.splitn(3, '#');
        let digest = parts.next().unwrap_or_default();
        if !digest.starts_with(ALGORITHM) {
            return Err("must be `artifact:sha256:`, 64 hexadecimal digits, and `#` with a file name");
        }
        let digest = digest
            .parse()
            .map_err(|_| "must be `artifact:sha256:`, 64 hexadecimal digits, and `#` with a file name")?;
        let name = parts.next().map(str::to_owned);
        let directory = parts.next().map(str::to_owned);
        if name.iter().chain(&directory).any(|name| !is_file_name(name)) {
            return Err(
                "what follows `#` must be the name of a file, without `/`, `,` and control characters",
            );
        }
        Ok(Self { digest, name, directory })
    }
}

/// Written as it is read.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.digest)?;
        self.name.iter().chain(&self.directory).try_for_each(|name| write!(f, "#{name}"))
    }
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_FILE_NAME_BYTES
        && !matches!(name, "." | "..")
        && !name.contains(|c: char| c.is_control() || matches!(c, '/' | ',' | '#' | '\\' | '%' | '?'))
}

/// An upload that a specification names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// JSON pointer to the field.
    pub pointer: String,
    /// Which bytes.
    pub digest: Digest,
    /// Where the attempt finds it, relative to its directory of uploads.
    pub path: PathBuf,
}

/// Every upload that `spec` names, and every reference that is wrong: (JSON pointer, reason).
pub fn named(spec: &JobSpec) -> (Vec<Named>, Vec<(String, String)>) {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    let kind = spec.kind;
    let mut look = |list: &'static str, at: Option<usize>, text: &str| {
        let Some(read) = Reference::read(text) else { return };
        let pointer = at.map_or_else(|| format!("/{list}"), |at| format!("/{list}/{at}"));
        match read {
            Err(reason) => wrong.push((pointer, reason.to_owned())),
            Ok(reference) => match refused(list, &reference) {
                Some(reason) => wrong.push((pointer, reason.to_owned())),
                None => found.push(Named {
                    pointer,
                    path: place(list, at, kind, &reference),
                    digest: reference.digest,
                }),
            },
        }
    };
    if let Source::File(file) = &spec.source {
        look("file", None, file);
    }
    for (list, items) in lists(spec) {
        for (at, item) in items.iter().enumerate() {
            look(list, Some(at), item);
        }
    }
    (found, wrong)
}

/// `spec` with every reference to an upload replaced by its path below `dir`.
#[must_use]
pub fn at(spec: &JobSpec, dir: &Path) -> JobSpec {
    let mut spec = spec.clone();
    let kind = spec.kind;
    let resolve = |list: &'static str, at: Option<usize>, text: &mut String| {
        if let Some(Ok(reference)) = Reference::read(text) {
            let path = dir.join(place(list, at, kind, &reference)).display().to_string();
            *text = match reference.directory {
                Some(directory) => format!("{path}#{directory}"),
                None => path,
            };
        }
    };
    if let Source::File(file) = &mut spec.source {
        resolve("file", None, file);
    }
    let lists = [
        ("jars", &mut spec.jars),
        ("pyFiles", &mut spec.py_files),
        ("files", &mut spec.files),
        ("archives", &mut spec.archives),
    ];
    for (list, items) in lists {
        for (at, item) in items.iter_mut().enumerate() {
            resolve(list, Some(at), item);
        }
    }
    spec
}

fn lists(spec: &JobSpec) -> [(&'static str, &[String]); 4] {
    [("jars", &spec.jars), ("pyFiles", &spec.py_files), ("files", &spec.files), ("archives", &spec.archives)]
}

/// Where a file's name says what it is, it has to have one.
fn refused(list: &str, reference: &Reference) -> Option<&'static str> {
    if reference.directory.is_some() && list != "archives" {
        return Some("has two `#`; only an archive has the name of a directory after that of the file");
    }
    let nameless = reference.name.is_none() && matches!(list, "pyFiles" | "archives");
    nameless.then_some("needs `#` and the file's name, whose ending says what it is")
}

/// A directory for each place in the specification, so that two files may have one name.
fn place(list: &str, at: Option<usize>, kind: Kind, reference: &Reference) -> PathBuf {
    let ending = match (list, kind) {
        ("jars", _) | ("file", Kind::Jar) => ".jar",
        ("file", Kind::Python) => ".py",
        ("file", Kind::Sql) => ".sql",
        ("file", Kind::Scala) => ".scala",
        _ => "",
    };
    let made_up = || format!("{}{ending}", &reference.digest.hex()[..16]);
    let dir = at.map_or_else(|| list.to_owned(), |at| format!("{list}-{at}"));
    Path::new(&dir).join(reference.name.clone().unwrap_or_else(made_up))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digit: char) -> String {
        digit.to_string().repeat(DIGITS)
    }

    #[test]
    fn references_read_back() {
        for text in [
            format!("artifact:sha256:{}", hex('a')),
            format!("artifact:sha256:{}#my job.py", hex('a')),
            format!("artifact:sha256:{}#env.tar.gz#env", hex('0')),
        ] {
            assert_eq!(Reference::read(&text).unwrap().unwrap().to_string(), text);
        }
        assert!(Reference::read("/a.py").is_none());
        for rest in [
            "",
            "sha256:",
            "sha256:12",
            "md5:00",
            &format!("sha256:{}#", hex('a')),
            &format!("sha256:{}#../x", hex('a')),
            &format!("sha256:{}#..", hex('a')),
            &format!("sha256:{}#a,b", hex('a')),
            &format!("sha256:{}#a#b#c", hex('a')),
            &hex('a'),
        ] {
            assert!(Reference::read(&format!("artifact:{rest}")).unwrap().is_err(), "{rest}");
        }
    }

    #[test]
    fn each_upload_has_its_own_place() {
        let upload = |rest: &str| format!("artifact:sha256:{}{rest}", hex('a'));
        let mut spec = JobSpec::new(Kind::Jar, Source::File(upload("")));
        spec.jars = vec!["/local.jar".to_owned(), upload("#lib.jar")];
        spec.archives = vec![upload("#env.tar.gz#env")];
        let (found, wrong) = named(&spec);
        assert!(wrong.is_empty(), "{wrong:?}");
        let pointers: Vec<&str> = found.iter().map(|n| n.pointer.as_str()).collect();
        assert_eq!(pointers, ["/file", "/jars/1", "/archives/0"]);
        let there = at(&spec, Path::new("/d"));
        assert_eq!(there.source, Source::File("/d/file/aaaaaaaaaaaaaaaa.jar".to_owned()));
        assert_eq!(there.jars, ["/local.jar", "/d/jars-1/lib.jar"]);
        assert_eq!(there.archives, ["/d/archives-0/env.tar.gz#env"]);
        assert_eq!(found[1].path, Path::new("jars-1/lib.jar"));
    }

    #[test]
    fn a_wrong_reference_is_named_by_pointer() {
        let mut spec = JobSpec::new(Kind::Python, Source::Code("pass".to_owned()));
        let nameless = format!("artifact:sha256:{}", hex('a'));
        spec.py_files = vec![nameless.clone()];
        spec.files = vec![nameless.clone(), "artifact:x".to_owned(), format!("{nameless}#a#b")];
        let (found, wrong) = named(&spec);
        assert_eq!(found.len(), 1);
        let pointers: Vec<&str> = wrong.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(pointers, ["/pyFiles/0", "/files/1", "/files/2"]);
    }
}
