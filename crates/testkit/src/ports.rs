//! Free ports on the loopback, for servers that want to be told theirs and have to find it again after a restart.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// Below those that the system gives to outgoing connections: one of these could take the port of a server that
/// is being restarted, or, looking for it, be connected to itself.
const FIRST: u16 = 12_000;
const PORTS: u32 = 18_000;

/// A port on which nobody listens now, and which this process has not been given before.
pub fn free() -> u16 {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    // Test processes that run side by side look in different places.
    let begin = std::process::id().wrapping_mul(2_654_435_761);
    (0..PORTS)
        .map(|n| FIRST + u16::try_from(begin.wrapping_add(n) % PORTS).expect("it is less than PORTS"))
        .find(|port| !given.contains(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .inspect(|port| {
            given.insert(*port);
        })
        .expect("a port is free")
}
