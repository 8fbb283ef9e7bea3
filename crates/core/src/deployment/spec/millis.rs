//! Lengths of time in a specification: milliseconds as in the reference, or a number with a unit.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time in milliseconds. Written as a number, or as a text like `500ms`, `10s`, `5m`, `2h`, `1d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

const HOW: &str = "milliseconds, or a whole number with ms, s, m, h or d, like `30s`";

impl Millis {
    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    /// Reads a number with a unit; without one it is milliseconds. None for anything else.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let factor = match unit.trim() {
            "" | "ms" => 1,
            "s" | "sec" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(factor).map(Self)
    }
}

/// For people: `90 s`, `5 min`, `2 h`, `250 ms`.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
        match units.into_iter().find(|(size, _)| self.0 >= *size && self.0.is_multiple_of(*size)) {
            Some((size, unit)) => write!(f, "{} {unit}", self.0 / size),
            None => write!(f, "{} ms", self.0),
        }
    }
}

struct MillisVisitor;

impl Visitor<'_> for MillisVisitor {
    type Value = Millis;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HOW)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Millis, E> {
        Ok(Millis(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Millis, E> {
        u64::try_from(value).map(Millis).map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Millis, E> {
        Millis::read(value).ok_or_else(|| E::invalid_value(de::Unexpected::Str(value), &self))
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MillisVisitor)
    }
}

impl JsonSchema for Millis {
    fn schema_name() -> Cow<'static, str> {
        "Millis".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": HOW,
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": r"^\s*[0-9]+\s*(ms|s|sec|m|min|h|d)?\s*$"},
            ],
        })
    }
}

/// How often something is done: at a distance, or by a cron text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Every {
    /// This long after the last time; 0 = never.
    Interval(Millis),
    /// By the clock, in UTC; see [`crate::deployment::schedule`].
    Cron(String),
}

impl Serialize for Every {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Interval(millis) => millis.serialize(serializer),
            Self::Cron(text) => serializer.serialize_str(text),
        }
    }
}

impl JsonSchema for Every {
    fn schema_name() -> Cow<'static, str> {
        "Every".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": format!("{HOW}, or a cron text"),
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "minLength": 1}],
        })
    }
}

struct EveryVisitor;

impl Visitor<'_> for EveryVisitor {
    type Value = Every;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HOW}, or a cron text")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Every, E> {
        MillisVisitor.visit_u64(value).map(Every::Interval)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Every, E> {
        MillisVisitor.visit_i64(value).map(Every::Interval)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Every, E> {
        // Whether it is a cron text is said by validation, which can say what is wrong with it.
        Ok(Millis::read(value).map_or_else(|| Every::Cron(value.to_owned()), Every::Interval))
    }
}

impl<'de> Deserialize<'de> for Every {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EveryVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_and_told() {
        for (text, millis, told) in [
            ("60000", 60_000, "1 min"),
            ("500ms", 500, "500 ms"),
            ("90 s", 90_000, "90 s"),
            ("2h", 7_200_000, "2 h"),
            ("1d", 86_400_000, "1 d"),
            ("0", 0, "0 ms"),
        ] {
            assert_eq!(Millis::read(text), Some(Millis(millis)), "{text}");
            assert_eq!(Millis(millis).to_string(), told);
        }
        for text in ["", "s", "-5", "1.5s", "5 weeks", "99999999999999999999", "18446744073709551615d"] {
            assert_eq!(Millis::read(text), None, "{text}");
        }
    }

    #[test]
    fn json_takes_both_spellings_and_says_which() {
        let read = |text: &str| serde_json::from_str::<Millis>(text);
        assert_eq!(read("5").unwrap(), Millis(5));
        assert_eq!(read("\"5s\"").unwrap(), Millis(5_000));
        assert!(read("-1").unwrap_err().to_string().contains("like `30s`"));
        assert!(read("1.5").unwrap_err().to_string().contains("like `30s`"));
        let every = |text: &str| serde_json::from_str::<Every>(text).unwrap();
        assert_eq!(every("300000"), Every::Interval(Millis(300_000)));
        assert_eq!(every("\"@daily\""), Every::Cron("@daily".into()));
    }
}
