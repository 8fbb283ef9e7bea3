//! Cursors of lists of jobs: where the next page begins, and what is known of the list.
//!
//! They are opaque to clients. One that was changed, or belongs to another list, is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libra_store::tables::jobs::{Filter, Place, Total};
use sha2::{Digest, Sha256};

use super::ServiceError;

/// Bytes of the seal.
const SEAL: usize = 8;

/// Ties a place to its list. Nobody gains anything by forging one: the filter comes with each request, and with it
/// whose jobs may be seen.
fn seal(filter: &Filter, place: &str) -> [u8; SEAL] {
    let hash: [u8; 32] = Sha256::digest(format!("{filter:?} {place}").as_bytes()).into();
    std::array::from_fn(|n| hash[n])
}

pub(super) fn write(filter: &Filter, place: &Place) -> String {
    let (exact, total) = match place.total {
        Total::Exactly(n) => ("=", n),
        Total::AtLeast(n) => (">", n),
    };
    let text = format!("{} {} {exact} {total}", place.before, place.listed);
    let mut bytes = seal(filter, &text).to_vec();
    bytes.extend(text.bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn read(filter: &Filter, cursor: &str) -> Result<Place, ServiceError> {
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (sealed, text) = bytes.split_at_checked(SEAL)?;
        let text = std::str::from_utf8(text).ok()?;
        if sealed != seal(filter, text) {
            return None;
        }
        let mut words = text.split(' ');
        let (before, listed) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let (exact, total) = (words.next()?, words.next()?.parse().ok()?);
        let total = if exact == "=" { Total::Exactly(total) } else { Total::AtLeast(total) };
        Some(Place { before, listed, total })
    };
    read().ok_or_else(|| {
        ServiceError::query("cursor", "is not one that this list gave out; begin again without a cursor")
    })
}

#[cfg(test)]
mod tests {
    use libra_core::id::JobId;
    use libra_core::time::Timestamp;

    use super::*;

    #[test]
    fn a_cursor_works_for_its_own_list_only() {
        let filter = Filter::default();
        for total in [Total::Exactly(7), Total::AtLeast(10_001)] {
            let place = Place { before: JobId::new(Timestamp(1), [1; 10]), listed: 50, total };
            let cursor = write(&filter, &place);
            assert_eq!(read(&filter, &cursor).unwrap(), place);
            let other = Filter { user: Some("ada".into()), ..Filter::default() };
            assert!(read(&other, &cursor).is_err());
        }
    }

    #[test]
    fn a_cursor_that_was_changed_is_refused() {
        let filter = Filter::default();
        let place =
            Place { before: JobId::new(Timestamp(1), [1; 10]), listed: 50, total: Total::Exactly(70) };
        let cursor = write(&filter, &place);
        let bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
        for n in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[n] ^= 1;
            assert!(read(&filter, &URL_SAFE_NO_PAD.encode(changed)).is_err(), "byte {n}");
        }
        for text in ["", "x", "!!!!", "AAAA", &cursor[..cursor.len() - 4]] {
            assert!(read(&filter, text).is_err(), "{text}");
        }
    }
}
