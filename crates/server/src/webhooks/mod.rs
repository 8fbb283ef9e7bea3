//! Sending webhooks (contract A12): signed after <https://www.standardwebhooks.com>, to addresses that anybody may
//! reach, with a limit on time and without following anybody elsewhere.

mod address;
mod patience;
mod secret;
mod sender;

use libra_core::id::JobId;
use url::{Host, Url};

pub(crate) use patience::{Settings, verdict};
pub(crate) use secret::Secret;
pub(crate) use sender::{Message, Sender, plain};

/// What the header `webhook-id` says of a message: the same in every try, and no other message's.
pub(crate) fn message_id(job: JobId, message: i64) -> String {
    format!("{job}-{message}")
}

/// The host and port that a message goes to, in one spelling; empty for what is no address.
pub(crate) fn host_of(target: &str) -> String {
    let Ok(url) = Url::parse(target) else { return String::new() };
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Why a webhook to this address is refused without asking anybody: it names a place that is not for everybody.
/// Names are looked up, and judged, only when something is sent.
pub(crate) fn refused(target: &str, allow_private: bool) -> Option<String> {
    let Ok(url) = Url::parse(target) else { return Some("is no address".to_owned()) };
    let address = match url.host() {
        None => return Some("names no host".to_owned()),
        Some(_) if allow_private => return None,
        Some(Host::Ipv4(ip)) => ip.into(),
        Some(Host::Ipv6(ip)) => ip.into(),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            let local = name == "localhost" || name.ends_with(".localhost");
            return local.then(|| format!("names this machine ({name}); {}", address::HINT));
        }
    };
    (!address::is_public(address)).then(|| format!("names a private address ({address}); {}", address::HINT))
}

#[cfg(test)]
mod tests {
    use super::refused;

    #[test]
    fn private_places_are_refused_in_every_spelling() {
        // contract: A12
        for target in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.0.0.1/",
            "http://0177.0.0.1/",
            "https://[::1]:8443/hook",
            "http://[::ffff:10.0.0.1]/",
            "http://169.254.169.254/latest/meta-data",
            "http://localhost:8080/",
            "http://LOCALHOST./",
            "http://a.localhost/",
            "http://１２７.0.0.1/",
        ] {
            assert!(refused(target, false).is_some(), "{target}");
            assert_eq!(refused(target, true), None, "{target}");
        }
        assert!(refused("nonsense", true).is_some());
    }

    #[test]
    fn public_addresses_and_names_are_taken() {
        for target in ["https://example.com/hook", "http://93.184.216.34:8080/", "https://[2606:4700::1111]/"]
        {
            assert_eq!(refused(target, false), None, "{target}");
        }
    }
}
