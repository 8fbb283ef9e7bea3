//! Programs that are no jars: what Flink is given for SQL statements and for Python, and what it is told to run.
//!
//! Statements are run by a small jar of Libra's own (`deploy/flink-runner`), as its arguments, or, from a file, out of a
//! copy of that jar with the file in it. A Python program lies in a jar with `libra_main.py`: Flink's own `PythonDriver`
//! unpacks it on the JobManager's host, where uploads are, gives it to the TaskManagers as well, and removes it.

mod zip;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Cursor, Write};
use std::path::Path;

use libra_core::artifact::Digest;
use libra_core::deployment::normal::Normal;
use libra_core::deployment::packing::Packing;
use libra_core::deployment::spec::{ArtifactType, Statements, is_refused};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::hex;

/// Runs statements. Built by `scripts/flink-runner.sh`.
const RUNNER: &[u8] = include_bytes!("../../../../deploy/flink-runner/libra-flink-runner.jar");
/// Begins a Python program.
const MAIN: &[u8] = include_bytes!("../../../../deploy/flink-runner/libra_main.py");
/// Where each finds what it runs; both know these names.
const STATEMENTS_NAME: &str = "libra_statements";
const MAIN_NAME: &str = "libra_main.py";
const PROGRAM_NAME: &str = "libra_job.py";
/// Tells what runs statements to refuse those that bring a program along; it knows this word.
const NO_CODE: &str = "--no-code";
/// What [`MAIN_NAME`] is called as a module.
const MAIN_MODULE: &str = "libra_main";
/// Flink's own class that runs Python; Flink adds the jar in which it is by this name.
const PYTHON_DRIVER: &str = "org.apache.flink.client.python.PythonDriver";
/// A setting that Flink does not know: by it a Python program finds its own environment among those of others.
const RUN: &str = "libra.run";
/// A Python program that has no name of its own.
const UNNAMED: &str = "job.py";
/// The largest file of statements and the largest Python file, in bytes. An archive may be larger.
const MOST_TEXT_BYTES: u64 = 16 * 1024 * 1024;
/// What an archive begins with.
const ZIP: &[u8] = b"PK\x03\x04";

/// Why a program can't be one: the field to correct, and how.
pub(crate) type Wrong = (&'static str, String);

/// What Flink is told of a run, beside what it is told of every one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The class that is run; the jar's own without one.
    pub(crate) entry_class: Option<String>,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// Settings.
    pub(crate) settings: BTreeMap<String, String>,
}

/// The digest of the jar that runs statements.
pub(crate) fn digest() -> io::Result<Digest> {
    Digest::of_hex(&hex(&Sha256::digest(RUNNER))).ok_or_else(|| io::Error::other("no digest"))
}

/// Writes the jar that runs statements, so that it outlives a crash.
pub(crate) fn write(to: &Path) -> io::Result<()> {
    let mut file = File::create(to)?;
    file.write_all(RUNNER)?;
    file.sync_all()
}

/// Where a program runs, and as what.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place<'a> {
    /// As what it was uploaded.
    pub(crate) jar: &'a str,
    /// Where uploads are on the JobManager's host.
    pub(crate) uploads: Option<&'a str>,
    /// The cluster's Python.
    pub(crate) python: Option<&'a str>,
    /// Statements of a specification, which nobody has signed, bring no program along.
    pub(crate) no_code: bool,
}

/// What to run as the job `job`.
///
/// # Errors
/// In words, when the cluster does not say where uploads are.
pub(crate) fn told(normal: &Normal, job: &str, place: &Place<'_>) -> Result<Told, String> {
    let Place { jar, uploads, python, no_code } = *place;
    let args = normal.args.clone();
    match (normal.artifact_type, normal.packing()) {
        (ArtifactType::Python, _) | (_, Packing::Python) => {
            let uploads = uploads.ok_or(
                "the cluster does not say where its uploads are, which Python needs; set web.upload.dir in Flink's \
                 configuration",
            )?;
            // A name, and no more: in archives the module counts.
            let path = normal.artifact_path.as_deref().unwrap_or_default();
            let name = path.rsplit(['/', '#']).next().unwrap_or_default();
            let is_file = Path::new(name).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("py"));
            let name = if is_file { name } else { UNNAMED };
            let order = json!({"script": name, "module": normal.entry_class, "args": args, "run": job});
            let mut settings = BTreeMap::from([
                ("python.files".to_owned(), format!("{uploads}/{jar}")),
                (RUN.to_owned(), job.to_owned()),
            ]);
            for key in ["python.executable", "python.client.executable"] {
                settings.extend(python.map(|python| (key.to_owned(), python.to_owned())));
            }
            let args = vec!["-pym".to_owned(), MAIN_MODULE.to_owned(), order.to_string()];
            Ok(Told { entry_class: Some(PYTHON_DRIVER.to_owned()), args, settings })
        }
        (ArtifactType::Sql, Packing::Statements) => Ok(Told::default()),
        (ArtifactType::Sql | ArtifactType::Jar, Packing::None | Packing::Statements) => {
            // What the user's own jar does with them is its affair.
            let own = normal.artifact_path.is_none();
            let flag = (own && no_code).then(|| NO_CODE.to_owned());
            let args = flag.into_iter().chain(args).chain(normal.sql.iter().cloned()).collect();
            Ok(Told { entry_class: normal.entry_class.clone(), args, settings: BTreeMap::new() })
        }
    }
}

/// Makes the jar that Flink is given of a program at `file`.
///
/// # Errors
/// When it can't be read, or is no such program.
pub(crate) fn pack(packing: Packing, file: &Path, to: &Path) -> io::Result<()> {
    let mut out = io::BufWriter::new(File::create(to)?);
    match packing {
        Packing::None => return Err(io::Error::other("it is a jar already")),
        Packing::Statements => {
            let statements = Statements::Text(text(file)?).split().join("\0");
            zip::add(Some(&mut Cursor::new(RUNNER)), &[(STATEMENTS_NAME, statements.as_bytes())], &mut out)?;
        }
        Packing::Python if is_archive(file)? => {
            zip::add(Some(&mut File::open(file)?), &[(MAIN_NAME, MAIN)], &mut out)?;
        }
        Packing::Python => {
            let none: Option<&mut Cursor<Vec<u8>>> = None;
            zip::add(none, &[(MAIN_NAME, MAIN), (PROGRAM_NAME, &fs::read(file)?)], &mut out)?;
        }
    }
    out.flush()
}

/// Looks at a program that will be packed.
///
/// # Errors
/// When the file can't be read. What is wrong with it is no error.
pub(crate) fn look(packing: Packing, file: &Path, module: Option<&str>) -> io::Result<Option<Wrong>> {
    let wrong = |field: &'static str, reason: &str| Ok(Some((field, reason.to_owned())));
    let path = "/artifact_path";
    let large = fs::metadata(file)?.len() > MOST_TEXT_BYTES;
    match packing {
        Packing::None => Ok(None),
        Packing::Statements if large => wrong(path, "is larger than 16 MiB"),
        Packing::Statements => {
            let Ok(text) = String::from_utf8(fs::read(file)?) else {
                return wrong(path, "is no text in UTF-8: a file of statements is one");
            };
            let statements = Statements::Text(text.clone()).split();
            if text.contains('\0') {
                wrong(path, "is no text: it has bytes that are 0")
            } else if statements.is_empty() {
                wrong(path, "must have at least one statement")
            } else {
                let refused =
                    statements.iter().enumerate().find_map(|(at, one)| Some((at + 1, is_refused(one)?)));
                Ok(refused.map(|(number, why)| (path, format!("must be mended: statement {number} {why}"))))
            }
        }
        Packing::Python if is_archive(file)? => look_at_archive(file, module),
        Packing::Python if large => wrong(path, "is larger than 16 MiB"),
        Packing::Python => {
            let bytes = fs::read(file)?;
            if module.is_some() {
                wrong("/entry_class", "is the module of an archive, and this is one file; leave it out")
            } else if bytes.trim_ascii().is_empty() {
                wrong(path, "is empty")
            } else if bytes.contains(&0) {
                wrong(path, "is no Python program: it has bytes that are 0")
            } else {
                Ok(None)
            }
        }
    }
}

/// True when a jar holds this class itself, and does not borrow it from whatever else the cluster has.
pub(crate) fn holds_class(file: &Path, class: &str) -> io::Result<bool> {
    let entry = format!("{}.class", class.replace('.', "/"));
    Ok(zip::Directory::read(&mut File::open(file)?)?.names().contains(&entry))
}

fn look_at_archive(file: &Path, module: Option<&str>) -> io::Result<Option<Wrong>> {
    let names = match zip::Directory::read(&mut File::open(file)?) {
        Ok(directory) => directory.names(),
        Err(why) => return Ok(Some(("/artifact_path", format!("can't be used: {why}")))),
    };
    let Some(module) = module else {
        let reason = "is needed with an archive: the module in it to run, like `jobs.main`";
        return Ok(Some(("/entry_class", reason.to_owned())));
    };
    let path = module.replace('.', "/");
    let (file, package) = (format!("{path}.py"), format!("{path}/__main__.py"));
    let found = names.iter().any(|name| *name == file || *name == package);
    Ok((!found)
        .then(|| ("/entry_class", format!("is not in the archive: there is neither {file} nor {package}"))))
}

fn is_archive(file: &Path) -> io::Result<bool> {
    let mut first = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(File::open(file)?, ZIP.len() as u64), &mut first)?;
    Ok(first == ZIP)
}

fn text(file: &Path) -> io::Result<String> {
    fs::read_to_string(file)
}

#[cfg(test)]
mod tests;
