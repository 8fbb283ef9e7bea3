//! Reading a JSON object field by field, so that every wrong field is named at once.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::problem::Violation;

/// Reads one object. Null counts as absent. Whatever is not asked for is an unknown field.
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    at: String,
    known: Vec<&'static str>,
}

/// `text` as one step of a JSON pointer (RFC 6901).
pub fn escape(text: &str) -> String {
    text.replace('~', "~0").replace('/', "~1")
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl<'a> Fields<'a> {
    /// Begins to read the object at pointer `at` (empty for the whole body).
    pub fn new(map: &'a Map<String, Value>, at: impl Into<String>) -> Self {
        Self { map, at: at.into(), known: Vec::new() }
    }

    /// The pointer of a field.
    pub fn pointer(&self, name: &str) -> String {
        format!("{}/{}", self.at, escape(name))
    }

    fn get(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.map.get(name).filter(|v| !v.is_null())
    }

    /// A text of at most `longest` bytes.
    pub fn text(
        &mut self,
        name: &'static str,
        longest: usize,
        wrong: &mut Vec<Violation>,
    ) -> Option<&'a str> {
        let value = self.get(name)?;
        plain_text(value, &self.pointer(name), longest, wrong)
    }

    /// A text of at most `longest` bytes; a number or a flag is taken as it is spelled.
    pub fn spelled(
        &mut self,
        name: &'static str,
        longest: usize,
        wrong: &mut Vec<Violation>,
    ) -> Option<String> {
        match self.get(name)? {
            Value::Number(n) => Some(n.to_string()),
            Value::Bool(b) => Some(b.to_string()),
            value => plain_text(value, &self.pointer(name), longest, wrong).map(str::to_owned),
        }
    }

    /// A whole number within `range`.
    pub fn whole(
        &mut self,
        name: &'static str,
        range: std::ops::RangeInclusive<u64>,
        wrong: &mut Vec<Violation>,
    ) -> Option<u64> {
        let value = self.get(name)?;
        let found = value.as_u64().filter(|n| range.contains(n));
        if found.is_none() {
            let reason =
                format!("must be a whole number from {} to {}, not {value}", range.start(), range.end());
            wrong.push(Violation::new(self.pointer(name), reason));
        }
        found
    }

    /// True or false.
    pub fn flag(&mut self, name: &'static str, wrong: &mut Vec<Violation>) -> Option<bool> {
        let value = self.get(name)?;
        let found = value.as_bool();
        if found.is_none() {
            wrong.push(Violation::new(self.pointer(name), format!("must be true or false, not {value}")));
        }
        found
    }

    /// A number within `range`, in thousandths.
    pub fn milli(
        &mut self,
        name: &'static str,
        range: std::ops::RangeInclusive<u32>,
        wrong: &mut Vec<Violation>,
    ) -> Option<u32> {
        let value = self.get(name)?;
        let (least, most) = (f64::from(*range.start()), f64::from(*range.end()));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within `range`")]
        let found = value
            .as_f64()
            .map(|n| (n * 1000.0).round())
            .filter(|n| (least..=most).contains(n))
            .map(|n| n as u32);
        if found.is_none() {
            let reason =
                format!("must be a number from {} to {}, not {value}", least / 1000.0, most / 1000.0);
            wrong.push(Violation::new(self.pointer(name), reason));
        }
        found
    }

    /// One of some words; `parse` says which.
    pub fn word<T>(
        &mut self,
        name: &'static str,
        words: &str,
        parse: impl FnOnce(&str) -> Option<T>,
        wrong: &mut Vec<Violation>,
    ) -> Option<T> {
        let value = self.get(name)?;
        let found = value.as_str().and_then(parse);
        if found.is_none() {
            let shown: String = value.to_string().chars().take(40).collect();
            wrong.push(Violation::new(self.pointer(name), format!("must be {words}, not {shown}")));
        }
        found
    }

    /// A list of at most `most` texts.
    pub fn texts(
        &mut self,
        name: &'static str,
        most: usize,
        longest: usize,
        wrong: &mut Vec<Violation>,
    ) -> Vec<String> {
        let Some(value) = self.get(name) else { return Vec::new() };
        let Value::Array(items) = value else {
            let reason = format!("must be a list of texts, not {}", kind_of(value));
            wrong.push(Violation::new(self.pointer(name), reason));
            return Vec::new();
        };
        if items.len() > most {
            let reason = format!("has {} entries; at most {most} are taken", items.len());
            wrong.push(Violation::new(self.pointer(name), reason));
            return Vec::new();
        }
        let at = self.pointer(name);
        items
            .iter()
            .enumerate()
            .filter_map(|(i, item)| plain_text(item, &format!("{at}/{i}"), longest, wrong))
            .map(str::to_owned)
            .collect()
    }

    /// An object of at most `most` texts. Numbers and flags are taken as their spelling.
    pub fn text_map(
        &mut self,
        name: &'static str,
        most: usize,
        longest: usize,
        wrong: &mut Vec<Violation>,
    ) -> BTreeMap<String, String> {
        let Some(object) = self.object(name, wrong) else { return BTreeMap::new() };
        let at = self.pointer(name);
        if object.len() > most {
            let reason = format!("has {} entries; at most {most} are taken", object.len());
            wrong.push(Violation::new(at, reason));
            return BTreeMap::new();
        }
        let mut found = BTreeMap::new();
        for (key, value) in object {
            let pointer = format!("{at}/{}", escape(key));
            if key.is_empty() || key.len() > MAX_KEY_BYTES || key.contains(char::is_control) {
                let reason = format!("keys are 1 to {MAX_KEY_BYTES} printable characters");
                wrong.push(Violation::new(pointer, reason));
                continue;
            }
            match value {
                Value::Null => {}
                Value::Number(n) => {
                    found.insert(key.clone(), n.to_string());
                }
                Value::Bool(b) => {
                    found.insert(key.clone(), b.to_string());
                }
                Value::String(_) | Value::Array(_) | Value::Object(_) => {
                    if let Some(text) = plain_text(value, &pointer, longest, wrong) {
                        found.insert(key.clone(), text.to_owned());
                    }
                }
            }
        }
        found
    }

    /// An object.
    pub fn object(
        &mut self,
        name: &'static str,
        wrong: &mut Vec<Violation>,
    ) -> Option<&'a Map<String, Value>> {
        match self.get(name)? {
            Value::Object(object) => Some(object),
            other => {
                let reason = format!("must be an object, not {}", kind_of(other));
                wrong.push(Violation::new(self.pointer(name), reason));
                None
            }
        }
    }

    /// True when the field is there; for fields that are known but can't be honoured.
    pub fn present(&mut self, name: &'static str) -> bool {
        self.get(name).is_some()
    }

    /// Names every field that nobody asked for, with the nearest known one.
    pub fn finish(self, wrong: &mut Vec<Violation>) {
        for name in self.map.keys().filter(|name| !self.known.contains(&name.as_str())) {
            let near = nearest(name, &self.known).map_or(String::new(), |n| format!("; did you mean `{n}`?"));
            let pointer = self.pointer(name);
            wrong.push(Violation::new(pointer, format!("is not a known field{near}")));
        }
    }
}

/// The longest key of an object of texts, in bytes.
pub const MAX_KEY_BYTES: usize = 512;

fn plain_text<'a>(
    value: &'a Value,
    pointer: &str,
    longest: usize,
    wrong: &mut Vec<Violation>,
) -> Option<&'a str> {
    let Value::String(text) = value else {
        wrong.push(Violation::new(pointer, format!("must be a text, not {}", kind_of(value))));
        return None;
    };
    if text.len() > longest {
        wrong.push(Violation::new(
            pointer,
            format!("is {} bytes long; at most {longest} are taken", text.len()),
        ));
        return None;
    }
    if text.contains('\0') {
        wrong.push(Violation::new(pointer, "contains a NUL character"));
        return None;
    }
    Some(text)
}

/// The known word nearest to `word`, if any is near enough to be meant.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = known.iter().map(|k| (distance(&word.to_lowercase(), &k.to_lowercase()), *k)).min()?;
    (near.0 <= 1 + word.len() / 4).then_some(near.1)
}

/// Edit distance (Levenshtein), by characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let cost = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_named_only_when_near() {
        assert_eq!(nearest("priorty", &["priority", "kind"]), Some("priority"));
        assert_eq!(nearest("Kind", &["priority", "kind"]), Some("kind"));
        assert_eq!(nearest("banana", &["priority", "kind"]), None);
    }

    #[test]
    fn pointers_are_escaped() {
        assert_eq!(escape("a/b~c"), "a~1b~0c");
    }
}
