//! Who vouches for a program: its signature, from the specification or from beside the file, checked when it is applied
//! again before Flink is given it, and before each run (contract F6).

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use libra_api::problem::Violation;
use libra_core::artifact::Digest;
use libra_core::deployment::normal::Normal;
use libra_core::deployment::packing::Packing;
use libra_core::deployment::spec::{DeploymentSpec, MAX_TEXT_BYTES};
use libra_store::tables::deployment_history as history;
use libra_store::tables::deployments::Name;

use super::program::{FOREIGN_CLASS, on_disk};
use super::read_again;
use crate::artifacts::{Looked, look};
use crate::runner::holds_class;
use crate::service::{Service, ServiceError};
use crate::signatures::{Check, Policy, Signed, TrustedKey};

/// What the name of a signature beside a program ends with.
const ENDING: &str = ".minisig";
/// What the field has to do with it.
const POINTER: &str = "/signature";

fn wrong(reason: impl Into<String>) -> ServiceError {
    ServiceError::fields(vec![Violation::new(POINTER, reason)])
}

impl Service {
    /// Reads a program whole; also says who has signed it, where that is asked. `beside`: the signature may lie beside it.
    pub(super) async fn look_at_program(
        &self,
        spec: &DeploymentSpec,
        file: &Path,
        beside: bool,
    ) -> Result<(Looked, Option<Signed>), ServiceError> {
        let signed = self.signature_of(spec, file, beside).await?;
        let (file, keys) = (file.to_owned(), self.config.flink.public_keys.clone());
        let read = on_disk(move || {
            let looked = look_with(&file, signed.as_ref(), &keys)?;
            Ok(looked.map(|looked| (looked, signed)))
        });
        let read = read.await.map_err(|e| {
            ServiceError::fields(vec![Violation::new("/artifact_path", format!("can't be read: {e}"))])
        })?;
        read.map_err(wrong)
    }

    /// The signature that a specification brings along.
    async fn signature_of(
        &self,
        spec: &DeploymentSpec,
        program: &Path,
        beside: bool,
    ) -> Result<Option<Signed>, ServiceError> {
        let flink = &self.config.flink;
        if flink.signatures == Policy::Off {
            return Ok(None);
        }
        if let Some(text) = spec.signature.as_deref().map(str::trim) {
            if text.contains('\n') {
                return Signed::read(text).map(Some).map_err(wrong);
            }
            let file = self.in_directories(text).map_err(|reason| {
                wrong(format!("must be the four lines of a signature or the path of one, and {reason}"))
            })?;
            let text = on_disk(move || text_of(&file)).await;
            let text = text.map_err(|e| wrong(format!("can't be read: {e}")))?;
            return Signed::read(&text).map(Some).map_err(wrong);
        }
        // Without keys nobody has asked for signatures.
        if beside && !flink.public_keys.is_empty() {
            let mut file = OsString::from(program);
            file.push(ENDING);
            match on_disk(move || text_of(Path::new(&file))).await {
                Ok(text) => {
                    let read = Signed::read(&text);
                    return read
                        .map(Some)
                        .map_err(|why| wrong(format!("(the {ENDING} file beside it) {why}")));
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(wrong(format!("(the {ENDING} file beside it) can't be read: {e}"))),
            }
        }
        match flink.signatures {
            Policy::Required => Err(wrong(
                "is required here: sign the program with `minisign -S -m FILE`, and give the text of FILE.minisig, or lay \
                 that file beside the program",
            )),
            Policy::IfPresent | Policy::Off => Ok(None),
        }
    }

    /// Where the program of a generation is, if it may be given to Flink, or run where Flink has it already: its bytes are
    /// those that were applied, and signed as is asked now.
    ///
    /// # Errors
    /// Why it may not.
    pub(crate) async fn checked_program(
        &self,
        name: &Name,
        generation: u64,
        digest: &Digest,
    ) -> Result<PathBuf, Unfit> {
        let flink = &self.config.flink;
        let (of, hex) = (name.clone(), digest.hex().to_owned());
        let read = self.db.read(move |tx| {
            // A signature is one of the bytes, whichever generation has brought it.
            let signature = history::newest_with(tx, &of, &hex)?.and_then(|newest| newest.signature);
            Ok((signature, history::generation(tx, &of, generation)?))
        });
        let (signature, stored) = read.await.map_err(|e| Unfit::Unread(e.to_string()))?;
        let own = stored.as_ref().is_some_and(is_own_runner);
        let normal = stored.as_ref().and_then(|stored| read_again(stored).ok()).map(|(_, normal)| normal);
        let vouched = |normal: &Normal| {
            flink.signatures == Policy::Required && !own && normal.packing() == Packing::None
        };
        let class = normal.filter(vouched).and_then(|normal| normal.entry_class);
        let signed = match (flink.signatures, signature) {
            (Policy::Off, _) | (Policy::IfPresent, None) => None,
            (Policy::Required, None) if own => None,
            (Policy::Required, None) => {
                return Err(Unfit::Unsigned("it is not signed, and signatures are required here".to_owned()));
            }
            (Policy::IfPresent | Policy::Required, Some(text)) => {
                let read = Signed::read(&text);
                Some(read.map_err(|why| Unfit::Unsigned(format!("its signature {why}")))?)
            }
        };
        let (artifacts, tenant, digest) = (self.artifacts.clone(), name.tenant.clone(), digest.clone());
        let keys = flink.public_keys.clone();
        let checked = on_disk(move || {
            let path = artifacts.held_path(&tenant, &digest);
            let looked = look_with(&path, signed.as_ref(), &keys)?;
            if let (Ok(_), Some(class)) = (&looked, class)
                && !holds_class(&path, &class)?
            {
                return Ok(Err(format!("does not vouch for {class}: entry_class {FOREIGN_CLASS}")));
            }
            Ok(looked.map(|looked| (path, looked.digest == digest)))
        });
        match checked.await.map_err(|e| Unfit::Unread(format!("its file can't be read: {e}")))? {
            Ok((path, true)) => Ok(path),
            Ok((_, false)) => Err(Unfit::Unread("its bytes are not those that were applied".to_owned())),
            Err(why) => Err(Unfit::Unsigned(format!("its signature {why}"))),
        }
    }
}

/// Why a program may not be given to Flink.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// It is not signed as is asked: that lasts until somebody signs it.
    #[error("{0}")]
    Unsigned(String),
    /// What was applied is not there as it was. It is put right when it is applied again.
    #[error("{0}")]
    Unread(String),
}

/// True where nobody has named a program: Libra's own runs the statements.
fn is_own_runner(stored: &history::StoredGeneration) -> bool {
    read_again(stored).is_ok_and(|(spec, _)| spec.artifact_path.is_none())
}

/// Reads a file once: for its digest, and for its signature where there is one. Inside: what is wrong with that.
fn look_with(
    file: &Path,
    signed: Option<&Signed>,
    keys: &[TrustedKey],
) -> io::Result<Result<Looked, String>> {
    let mut check = match signed.map(|signed| signed.check(keys)).transpose() {
        Ok(check) => check,
        Err(why) => return Ok(Err(why)),
    };
    let looked = look(file, |piece| {
        if let Some(check) = &mut check {
            check.update(piece);
        }
    })?;
    Ok(check.map_or(Ok(()), Check::finish).map(|()| looked))
}

/// The text of a signature's file.
fn text_of(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(MAX_TEXT_BYTES as u64).read_to_string(&mut text)?;
    Ok(text)
}
