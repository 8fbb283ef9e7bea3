//! The names that we give to what we ask of Flink.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A Flink job id or a trigger id: 128 bits, written as 32 hexadecimal digits. It is ours: drawn and stored before
/// anything is sent, so that a request with an unknown outcome can be looked for, and sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct FlinkId(pub u128);

/// A text that is not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a Flink id has 32 hexadecimal digits")]
pub struct NotAFlinkId;

impl fmt::Display for FlinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for FlinkId {
    type Err = NotAFlinkId;

    fn from_str(text: &str) -> Result<Self, NotAFlinkId> {
        // `from_str_radix` takes a sign as well.
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(NotAFlinkId);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| NotAFlinkId)
    }
}

impl From<FlinkId> for String {
    fn from(id: FlinkId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for FlinkId {
    type Error = NotAFlinkId;

    fn try_from(text: String) -> Result<Self, NotAFlinkId> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn an_id_is_read_as_it_is_written(number: u128, other in ".*") {
            let id = FlinkId(number);
            proptest::prop_assert_eq!(id.to_string().len(), 32);
            proptest::prop_assert_eq!(id.to_string().parse(), Ok(id));
            if let Ok(read) = other.parse::<FlinkId>() {
                proptest::prop_assert_eq!(read.to_string(), other.to_lowercase());
            }
        }
    }
}
