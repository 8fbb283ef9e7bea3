//! Which attempts a server works on, for every Libra on this host to see: a link for each in the server's
//! directory, there before anything is sent and gone after the end is on the disk.
//!
//! Invariant: who enters looks whether the server is retiring *after* the link is there, and who retires a server
//! looks for links *after* the mark is there. One of the two sees the other.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use libra_core::id::Token;

use super::super::record::{self, OnDisk};
use crate::attempt_dir::AttemptDir;
use crate::shim;

fn links(server: &AttemptDir) -> PathBuf {
    server.path().join("guests")
}

/// Says that no new query may be sent to the server.
fn retiring_file(server: &AttemptDir) -> PathBuf {
    server.path().join("retiring")
}

/// True when no new query may be sent to the server.
pub(super) fn is_retiring(server: &AttemptDir) -> bool {
    retiring_file(server).exists()
}

/// Closes the server to new queries.
pub(super) fn retire(server: &AttemptDir) -> io::Result<()> {
    fs::write(retiring_file(server), b"")
}

/// Opens it again.
pub(super) fn take_back(server: &AttemptDir) -> io::Result<()> {
    match fs::remove_file(retiring_file(server)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Counts an attempt in; false when the server takes nobody any more.
pub(super) fn enter(server: &AttemptDir, token: Token, attempt: &AttemptDir) -> io::Result<bool> {
    let link = links(server).join(token.to_string());
    let linked = match symlink(attempt.path(), &link) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(links(server))?;
            symlink(attempt.path(), &link)
        }
        linked => linked,
    };
    match linked {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        Ok(()) | Err(_) => {}
    }
    if is_retiring(server) {
        leave(server, token);
        return Ok(false);
    }
    Ok(true)
}

/// Counts an attempt out.
pub(super) fn leave(server: &AttemptDir, token: Token) {
    match fs::remove_file(links(server).join(token.to_string())) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::debug!(%error, %token, "the link of an ended query could not be removed");
        }
        Ok(()) | Err(_) => {}
    }
}

/// How many attempts the server may be working on. Links of attempts that are over, or gone, are removed.
pub(super) fn count(server: &AttemptDir) -> io::Result<usize> {
    count_those(server, |_| true)
}

/// The same, but for one of them.
pub(super) fn count_but(server: &AttemptDir, token: Token) -> io::Result<usize> {
    let token = token.to_string();
    count_those(server, |name| name != token.as_str())
}

fn count_those(server: &AttemptDir, counts: impl Fn(&OsStr) -> bool) -> io::Result<usize> {
    let entries = match fs::read_dir(links(server)) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(e),
    };
    let mut open = 0;
    for entry in entries {
        let entry = entry?;
        if !counts(&entry.file_name()) {
            continue;
        }
        let over = match fs::read_link(entry.path()) {
            Ok(attempt) if !attempt.exists() => true,
            Ok(attempt) => is_over(&AttemptDir::new(attempt)),
            // Removed just now.
            Err(_) => continue,
        };
        if over {
            // Losing the race against its owner is fine.
            let _ = fs::remove_file(entry.path());
        } else {
            open += 1;
        }
    }
    Ok(open)
}

fn is_over(attempt: &AttemptDir) -> bool {
    let (launch, owner) = (attempt.launch_file().exists(), attempt.owner_file().exists());
    if !launch && !owner {
        return matches!(record::read(attempt), Ok(OnDisk::Ended(_) | OnDisk::Revoked));
    }
    // A program: its result may be there long before its end. Its launch file goes when it is let go.
    let ended = matches!(shim::status(attempt), Ok(shim::Status::Exited { .. } | shim::Status::Revoked));
    ended || !launch || matches!(record::read_end(attempt), Ok(Some(_)))
}

#[cfg(test)]
mod tests {
    use libra_core::time::Timestamp;

    use super::*;

    #[test]
    fn a_retiring_server_keeps_its_guests_and_takes_no_new_ones() {
        let scratch = std::env::temp_dir().join(format!("libra-guests-{}", std::process::id()));
        let _ = fs::remove_dir_all(&scratch);
        let (server, attempt) = (AttemptDir::new(scratch.join("s")), AttemptDir::new(scratch.join("a")));
        fs::create_dir_all(server.path()).unwrap();
        fs::create_dir_all(attempt.path()).unwrap();
        let token = |n| Token::new(Timestamp(1), [n; 10]);
        assert!(enter(&server, token(1), &attempt).unwrap());
        assert!(enter(&server, token(1), &attempt).unwrap(), "twice is once");
        retire(&server).unwrap();
        assert!(!enter(&server, token(2), &attempt).unwrap());
        assert_eq!(count(&server).unwrap(), 1);
        assert!(record::revoke(&attempt).unwrap());
        assert_eq!(count(&server).unwrap(), 0, "what will never be sent holds nobody up");
        take_back(&server).unwrap();
        take_back(&server).unwrap();
        assert!(enter(&server, token(2), &AttemptDir::new(scratch.join("gone"))).unwrap());
        assert_eq!(count(&server).unwrap(), 0, "an attempt that was removed is over");
        fs::remove_dir_all(scratch).unwrap();
    }
}
