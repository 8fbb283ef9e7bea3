//! Signatures of programs, as minisign writes them, and the keys that are trusted (contract F6).
//!
//! A signature is four lines: a comment, base64 of an algorithm, a key id and an ed25519 signature, a comment that is
//! signed, and base64 of the signature of both. Newer ones sign the BLAKE2b of the file (`ED`), older ones the file
//! itself (`Ed`), which therefore has to be in memory.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::{Error, PublicKey, Signature, StreamVerifier};

/// The largest program with a signature of the older kind, in bytes.
const MOST_IN_MEMORY: usize = 256 * 1024 * 1024;
/// Bytes of an algorithm, and of the key id behind it.
const ALGORITHM_BYTES: usize = 2;
const KEY_ID_BYTES: usize = 8;

/// Whether programs have to be signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Signatures are not looked at.
    Off,
    /// A signature that is there has to be right.
    #[default]
    IfPresent,
    /// There has to be one.
    Required,
}

/// Names a key: 16 hexadecimal digits, as minisign shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyId([u8; KEY_ID_BYTES]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

/// A key that is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    id: KeyId,
    key: PublicKey,
}

impl TrustedKey {
    /// Reads a key as minisign prints it; the comment above it may be there.
    ///
    /// # Errors
    /// What it has to be.
    pub(crate) fn read(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "must be a public key of minisign, which begins with `RW`";
        let line = text.trim().lines().last().unwrap_or_default().trim();
        let key = PublicKey::from_base64(line).map_err(|_| FORM)?;
        Ok(Self { id: key_id(line).ok_or(FORM)?, key })
    }
}

/// A signature that was read, and who has made it if it is right.
#[derive(Clone)]
pub(crate) struct Signed {
    /// As it was written.
    pub(crate) text: String,
    /// Its key.
    pub(crate) key_id: KeyId,
    signature: Signature,
    prehashed: bool,
}

impl Signed {
    /// Reads the text of a `.minisig` file.
    ///
    /// # Errors
    /// What is wrong with it; reads on after the field's name.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let form =
            "must be a signature as minisign writes it: four lines, the first and the third of them comments";
        let text = text.trim().to_owned();
        let signature = Signature::decode(&text).map_err(|e| match e {
            Error::UnsupportedAlgorithm => "is of a kind that is not known: sign with minisign".to_owned(),
            Error::InvalidEncoding
            | Error::InvalidSignature
            | Error::IoError(_)
            | Error::UnexpectedAlgorithm
            | Error::UnexpectedKeyId
            | Error::UnsupportedLegacyMode => form.to_owned(),
        })?;
        let line = text.lines().nth(1).unwrap_or_default();
        let key_id = key_id(line).ok_or(form)?;
        let prehashed = STANDARD.decode(line.trim()).is_ok_and(|bytes| bytes.starts_with(b"ED"));
        Ok(Self { text, key_id, signature, prehashed })
    }

    /// Begins to check it, with one of the keys that are trusted.
    ///
    /// # Errors
    /// That none of them has made it; reads on after the field's name.
    pub(crate) fn check<'a>(&'a self, keys: &'a [TrustedKey]) -> Result<Check<'a>, String> {
        let Some(trusted) = keys.iter().find(|key| key.id == self.key_id) else {
            let known: Vec<String> = keys.iter().map(|key| key.id.to_string()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(format!(
                "is by the key {}, which is not trusted here (libra.flink.artifacts.public-keys has {known})",
                self.key_id
            ));
        };
        let bytes = if self.prehashed {
            let verifier = trusted.key.verify_stream(&self.signature).map_err(|e| wrong(&e))?;
            Bytes::Hashed(Box::new(verifier))
        } else {
            Bytes::Whole(Vec::new())
        };
        Ok(Check { signed: self, key: &trusted.key, bytes })
    }
}

/// A check under way.
pub(crate) struct Check<'a> {
    signed: &'a Signed,
    key: &'a PublicKey,
    bytes: Bytes<'a>,
}

enum Bytes<'a> {
    Hashed(Box<StreamVerifier<'a>>),
    Whole(Vec<u8>),
    TooMany,
}

impl Check<'_> {
    /// The next bytes of the file.
    pub(crate) fn update(&mut self, piece: &[u8]) {
        match &mut self.bytes {
            Bytes::Hashed(verifier) => verifier.update(piece),
            Bytes::Whole(bytes) if bytes.len().saturating_add(piece.len()) <= MOST_IN_MEMORY => {
                bytes.extend_from_slice(piece);
            }
            Bytes::Whole(_) | Bytes::TooMany => self.bytes = Bytes::TooMany,
        }
    }

    /// That was all.
    ///
    /// # Errors
    /// That the signature is not of these bytes; reads on after the field's name.
    pub(crate) fn finish(self) -> Result<(), String> {
        match self.bytes {
            Bytes::Hashed(mut verifier) => verifier.finalize().map_err(|e| wrong(&e)),
            Bytes::Whole(bytes) => {
                self.key.verify(&bytes, &self.signed.signature, true).map_err(|e| wrong(&e))
            }
            Bytes::TooMany => Err(format!(
                "is of the older kind, which is taken for programs of at most {} MiB: sign with minisign 0.10 or newer",
                MOST_IN_MEMORY >> 20
            )),
        }
    }
}

fn wrong(e: &Error) -> String {
    match e {
        Error::InvalidSignature => {
            "is not a signature of this program: it, or the program, was changed".to_owned()
        }
        Error::InvalidEncoding
        | Error::IoError(_)
        | Error::UnexpectedAlgorithm
        | Error::UnexpectedKeyId
        | Error::UnsupportedAlgorithm
        | Error::UnsupportedLegacyMode => format!("can't be checked: {e}"),
    }
}

/// The id in a line of a key or of a signature.
fn key_id(line: &str) -> Option<KeyId> {
    let bytes = STANDARD.decode(line.trim()).ok()?;
    let id = bytes.get(ALGORITHM_BYTES..ALGORITHM_BYTES + KEY_ID_BYTES)?;
    Some(KeyId(id.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with minisign 0.11: `minisign -S -m program -t 'program 1.0'`, and with `-l`.
    const PROGRAM: &[u8] = include_bytes!("signatures/fixtures/program");
    const SIGNATURE: &str = include_str!("signatures/fixtures/program.minisig");
    const OLDER: &str = include_str!("signatures/fixtures/program.legacy.minisig");
    const BY_ANOTHER: &str = include_str!("signatures/fixtures/program.other.minisig");
    const KEY: &str = include_str!("signatures/fixtures/key.pub");

    fn verify(text: &str, program: &[u8]) -> Result<KeyId, String> {
        let keys = [TrustedKey::read(KEY).unwrap()];
        let signed = Signed::read(text)?;
        let mut check = signed.check(&keys)?;
        for piece in program.chunks(7) {
            check.update(piece);
        }
        check.finish().map(|()| signed.key_id)
    }

    #[test]
    fn signatures_that_minisign_has_made_are_right_and_name_their_key() {
        for text in [SIGNATURE, OLDER] {
            assert_eq!(verify(text, PROGRAM).unwrap().to_string(), "D9BB3F8EAAFDA69E");
        }
        let second_line = KEY.lines().nth(1).unwrap();
        assert_eq!(TrustedKey::read(second_line), TrustedKey::read(KEY));
    }

    #[test]
    fn what_was_changed_is_noticed() {
        let mut changed = PROGRAM.to_vec();
        changed[10] ^= 1;
        let lines: Vec<&str> = SIGNATURE.lines().collect();
        let comment = [lines[0], lines[1], "trusted comment: program 2.0", lines[3]].join("\n");
        let mut broken = STANDARD.decode(lines[1]).unwrap();
        broken[20] ^= 1;
        let broken = [lines[0], &STANDARD.encode(broken), lines[2], lines[3]].join("\n");
        for (text, program, says) in [
            (SIGNATURE, &changed[..], "is not a signature of this program"),
            (OLDER, &changed[..], "is not a signature of this program"),
            (&comment, PROGRAM, "is not a signature of this program"),
            (&broken, PROGRAM, "is not a signature of this program"),
            (SIGNATURE, &PROGRAM[..20], "is not a signature of this program"),
            (
                BY_ANOTHER,
                PROGRAM,
                "not trusted here (libra.flink.artifacts.public-keys has D9BB3F8EAAFDA69E)",
            ),
            ("signed, me", PROGRAM, "four lines"),
            (KEY, PROGRAM, "four lines"),
            ("", PROGRAM, "four lines"),
        ] {
            let reason = verify(text, program).unwrap_err();
            assert!(reason.contains(says), "{text}: {reason}");
        }
        assert!(TrustedKey::read("RWnothing").is_err());
        assert!(TrustedKey::read(SIGNATURE).is_err());
    }
}
