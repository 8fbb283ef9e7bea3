//! Signals as text: `sender|signal signal …`, at most [`MAX_BYTES`] long.

use super::Signal;

/// PostgreSQL takes payloads below 8,000 bytes.
const MAX_BYTES: usize = 7_500;

/// What one replica told the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who says it; its own messages come back to it.
    pub sender: String,
    /// What.
    pub signals: Vec<Signal>,
}

/// The text of `signals`; those that do not fit are one [`Signal::Everything`].
pub fn encode(sender: &str, signals: &[Signal]) -> String {
    let words: Vec<String> = signals.iter().map(word).collect();
    let text = format!("{sender}|{}", words.join(" "));
    if text.len() <= MAX_BYTES { text } else { format!("{sender}|{}", word(&Signal::Everything)) }
}

fn word(signal: &Signal) -> String {
    match signal {
        Signal::Room => "room".into(),
        Signal::Queue => "queue".into(),
        Signal::Logged => "logged".into(),
        Signal::Fed => "fed".into(),
        Signal::Claim(machine) => format!("claim:{machine}"),
        Signal::Changed(job) => job.to_string(),
        Signal::Everything => "everything".into(),
    }
}

/// Reads a message; words of a newer Libra are left out.
pub fn decode(text: &str) -> Option<Message> {
    let (sender, words) = text.split_once('|')?;
    let signals = words.split_ascii_whitespace().filter_map(signal).collect();
    Some(Message { sender: sender.to_owned(), signals })
}

fn signal(word: &str) -> Option<Signal> {
    Some(match word {
        "room" => Signal::Room,
        "queue" => Signal::Queue,
        "logged" => Signal::Logged,
        "fed" => Signal::Fed,
        "everything" => Signal::Everything,
        other => match other.strip_prefix("claim:") {
            Some(machine) => Signal::Claim(machine.to_owned()),
            None => Signal::Changed(other.parse().ok()?),
        },
    })
}

#[cfg(test)]
mod tests {
    use libra_core::id::JobId;
    use libra_core::time::Timestamp;

    use super::*;

    #[test]
    fn signals_read_back() {
        let job = JobId::new(Timestamp(1_000), [7; 10]);
        let signals = vec![
            Signal::Room,
            Signal::Queue,
            Signal::Logged,
            Signal::Fed,
            Signal::Claim("m".into()),
            Signal::Changed(job),
            Signal::Everything,
        ];
        let message = Message { sender: "a-1".into(), signals };
        assert_eq!(decode(&encode("a-1", &message.signals)), Some(message));
        assert_eq!(decode("no bar"), None);
        assert_eq!(decode("a|of-tomorrow room").map(|m| m.signals), Some(vec![Signal::Room]));
    }

    #[test]
    fn too_many_become_one() {
        let many: Vec<Signal> =
            (0..255).map(|n| Signal::Changed(JobId::new(Timestamp(1_000), [n; 10]))).collect();
        assert_eq!(decode(&encode("a", &many)).map(|m| m.signals), Some(vec![Signal::Everything]));
    }
}
