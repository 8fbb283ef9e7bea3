//! A door to Libra through which half of the calls come back well: of the others one is answered with 500, and one is
//! heard by Libra while its answer is lost.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What it answers in place of Libra.
const BROKEN: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";

/// A door that stays open as long as the test process lives.
pub struct Door {
    url: String,
    calls: Arc<AtomicUsize>,
}

impl Door {
    /// To the Libra at `url`.
    pub fn to(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let door = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            calls: Arc::new(AtomicUsize::new(0)),
        };
        let (calls, libra) = (Arc::clone(&door.calls), url.trim_start_matches("http://").to_owned());
        thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let (calls, libra) = (Arc::clone(&calls), libra.clone());
                thread::spawn(move || serve(caller, &libra, &calls));
            }
        });
        door
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Calls that have come to it.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

fn serve(mut caller: TcpStream, libra: &str, calls: &AtomicUsize) -> io::Result<()> {
    while let Some(request) = message(&mut caller)? {
        match calls.fetch_add(1, Ordering::Relaxed) % 4 {
            0 => caller.write_all(BROKEN)?,
            // Heard, and cut off.
            2 => return ask(libra, &request).map(drop),
            _ => caller.write_all(&ask(libra, &request)?)?,
        }
    }
    Ok(())
}

fn ask(libra: &str, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut upstream = TcpStream::connect(libra)?;
    upstream.write_all(request)?;
    message(&mut upstream)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// A request or an answer as a whole; None when nothing more comes.
fn message(from: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut some = [0_u8; 4096];
    loop {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        if head.is_some_and(|head| bytes.len() >= head + length(&bytes[..head])) {
            return Ok(Some(bytes));
        }
        match from.read(&mut some)? {
            0 => return Ok(None),
            count => bytes.extend_from_slice(&some[..count]),
        }
    }
}

fn length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}
