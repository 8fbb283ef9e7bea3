//! Reading one entry of a list or a map, field by field.

use std::collections::BTreeMap;
use std::time::Duration;

use libra_api::fields::nearest;
use libra_core::memory::{self, MIB};
use libra_core::turn::{Limits, Quota};
use serde_json::Value;

use super::ConfigError;
use super::units::duration;

/// The greatest weight.
const MOST_SHARE: u64 = 1_000_000;
/// The name of those who are not named.
pub(super) const DEFAULT: &str = "default";

pub(super) fn list<'v>(
    key: &str,
    value: Option<&'v Value>,
    example: &str,
) -> Result<&'v [Value], ConfigError> {
    match value {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(ConfigError::new(format!("{key} must be a list")).hinting(example)),
    }
}

pub(super) fn map<'v>(
    key: &str,
    value: Option<&'v Value>,
) -> Result<Vec<(&'v String, &'v Value)>, ConfigError> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(map)) => Ok(map.iter().collect()),
        Some(_) => Err(ConfigError::new(format!("{key} must be a map from names to limits"))
            .hinting(format!("{key}: {{{DEFAULT}: {{running-jobs: 10}}, ann: {{running-jobs: 50}}}}"))),
    }
}

/// The fields of one entry, read one by one.
pub(super) struct Fields<'v> {
    place: String,
    map: BTreeMap<&'v str, &'v Value>,
}

impl<'v> Fields<'v> {
    pub(super) fn of(place: &str, value: &'v Value, known: &[&str]) -> Result<Self, ConfigError> {
        let map: BTreeMap<&str, &Value> = match value {
            Value::Object(map) => map.iter().map(|(k, v)| (k.as_str(), v)).collect(),
            Value::Null => BTreeMap::new(),
            _ => return Err(ConfigError::new(format!("{place} must be a map"))),
        };
        for key in map.keys() {
            if !known.contains(key) {
                let error = ConfigError::new(format!("{place}.{key} is not known"));
                return Err(match nearest(key, known) {
                    Some(near) => error.hinting(format!("did you mean {near}?")),
                    None => error.hinting(format!("there are: {}", known.join(", "))),
                });
            }
        }
        Ok(Self { place: place.to_owned(), map })
    }

    pub(super) fn take(&mut self, name: &str) -> Option<&'v Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    pub(super) fn wrong(&self, name: &str, wanted: &str, value: &Value) -> ConfigError {
        ConfigError::new(format!("{}.{name} must be {wanted}, not `{value}`", self.place))
    }

    pub(super) fn number(&mut self, name: &str, most: u64) -> Result<Option<u64>, ConfigError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok());
        let wanted = if most == u64::MAX {
            "a whole number from 0".to_owned()
        } else {
            format!("a whole number from 0 to {most}")
        };
        number.filter(|n| *n <= most).map(Some).ok_or_else(|| self.wrong(name, &wanted, value))
    }

    pub(super) fn memory(&mut self, name: &str) -> Result<Option<u64>, ConfigError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        // Nothing at all has no unit.
        if text.trim() == "0" {
            return Ok(Some(0));
        }
        let bytes = memory::parse(&text, MIB).ok();
        bytes.map(Some).ok_or_else(|| self.wrong(name, "an amount of memory such as `64g`", value))
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, ConfigError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.wrong(name, "true or false", value))
    }

    pub(super) fn duration(&mut self, name: &str) -> Result<Option<Duration>, ConfigError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let found = duration(text.trim());
        found.map(Some).ok_or_else(|| self.wrong(name, "a duration such as `30m`", value))
    }

    pub(super) fn name(&mut self) -> Result<String, ConfigError> {
        match self.take("name") {
            Some(Value::String(name)) if !name.trim().is_empty() => Ok(name.trim().to_owned()),
            _ => Err(ConfigError::new(format!("{} needs a name", self.place))),
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, ConfigError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text.trim().to_owned())),
            Some(other) => Err(self.wrong(name, "a text", other)),
        }
    }

    pub(super) fn share(&mut self) -> Result<u32, ConfigError> {
        let share = self.number("share", MOST_SHARE)?.unwrap_or(1);
        Ok(u32::try_from(share).unwrap_or(u32::MAX))
    }

    pub(super) fn limits(&mut self) -> Result<Limits, ConfigError> {
        Ok(Limits {
            running: Quota {
                jobs: self.number("running-jobs", u64::MAX)?,
                cores: self.number("cores", u64::MAX)?,
                memory: self.memory("memory")?,
                gpus: self.number("gpus", u64::MAX)?,
            },
            queued: self.number("queued-jobs", u64::MAX)?,
            per_minute: self.number("submissions-per-minute", u64::MAX)?,
        })
    }
}

/// True for an address that begins with `http://` or `https://` and names a host.
pub(super) fn is_web_address(text: &str) -> bool {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains(char::is_whitespace))
}
