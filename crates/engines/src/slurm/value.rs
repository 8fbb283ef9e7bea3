//! A field of an answer, however its version writes it: a number, `{"set": true, "number": 3}`, a word or a list of words.

use libra_core::time::{MICROS_PER_SECOND, Timestamp};
use serde_json::Value;

/// What Slurm writes for "no value" and "no limit" where it has no better way: 32 and 64 bits of ones, and one less. Fields of
/// 16 bits, for which that may be the number of a job, are not read here.
const NO_NUMBERS: [u64; 4] = [0xffff_fffe, 0xffff_ffff, u64::MAX - 1, u64::MAX];
/// What Slurm writes for "no text".
const NO_TEXTS: [&str; 4] = ["", "(null)", "None assigned", "N/A"];

/// A field that may be there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a>(Option<&'a Value>);

impl<'a> Field<'a> {
    /// A whole answer, or one job of it.
    pub(super) fn of(value: &'a Value) -> Self {
        Self(Some(value))
    }

    /// The field of this name, where this is an object that has one.
    pub(super) fn at(self, name: &str) -> Self {
        Self(self.0.and_then(|value| value.get(name)))
    }

    /// The first of these fields that says something.
    pub(super) fn any(self, names: &[&str]) -> Self {
        let said = |field: &Self| field.0.is_some_and(|value| !value.is_null());
        names.iter().map(|name| self.at(name)).find(said).unwrap_or(Self(None))
    }

    /// The elements, where this is a list.
    pub(super) fn each(self) -> impl Iterator<Item = Self> {
        self.0.and_then(Value::as_array).into_iter().flatten().map(|value| Self(Some(value)))
    }

    /// True where it is there at all.
    pub(super) fn is_there(self) -> bool {
        self.0.is_some()
    }

    /// True where it says so.
    pub(super) fn is_true(self) -> bool {
        self.0.and_then(Value::as_bool) == Some(true)
    }

    /// A text that says something.
    pub(super) fn text(self) -> Option<String> {
        let text = self.0?.as_str()?.trim();
        (!NO_TEXTS.contains(&text)).then(|| text.to_owned())
    }

    /// A word, or several as one text with commas between.
    pub(super) fn words(self) -> Option<String> {
        let list: Vec<String> = self.each().filter_map(Self::text).collect();
        if list.is_empty() { self.text() } else { Some(list.join(",")) }
    }

    /// A whole number that is none of Slurm's ways to say that there is none.
    pub(super) fn number(self) -> Option<u64> {
        let value = self.0?;
        if value.is_object() {
            let says = |name: &str| value.get(name).and_then(Value::as_bool);
            if says("set") == Some(false) || says("infinite") == Some(true) {
                return None;
            }
            return self.at("number").number();
        }
        whole(value).filter(|number| !NO_NUMBERS.contains(number))
    }

    /// A number that counts something: more than none.
    pub(super) fn positive(self) -> Option<u64> {
        self.number().filter(|number| *number > 0)
    }

    /// The same for small ones.
    pub(super) fn small(self) -> Option<u32> {
        self.number().and_then(|number| u32::try_from(number).ok())
    }

    /// Seconds since the epoch; 0 is Slurm's way to say never.
    pub(super) fn time(self) -> Option<Timestamp> {
        let seconds = i64::try_from(self.positive()?).ok()?;
        Some(Timestamp(seconds.checked_mul(MICROS_PER_SECOND)?))
    }
}

fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| {
            // Some versions write `1.0`. What is no number of things, or too large for one, is left out.
            let number = number.as_f64().filter(|n| *n >= 0.0 && *n <= 1e15 && n.fract() == 0.0)?;
            format!("{number:.0}").parse().ok()
        }),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_is_read_as_any_version_writes_it() {
        let table = [
            (json!(3), Some(3)),
            (json!(1.0), Some(1)),
            (json!("17"), Some(17)),
            (json!({"set": true, "infinite": false, "number": 3}), Some(3)),
            (json!({"set": false, "infinite": false, "number": 0}), None),
            (json!({"set": true, "infinite": true, "number": 0}), None),
            (json!({"set": true}), None),
            (json!(4_294_967_294_u64), None),
            (json!(u64::MAX), None),
            (json!(-1), None),
            (json!(1.5), None),
            (json!(1e300), None),
            (json!("many"), None),
            (json!(null), None),
            (json!([1]), None),
            (json!(true), None),
        ];
        for (value, number) in table {
            assert_eq!(Field::of(&value).number(), number, "{value}");
        }
        assert_eq!(Field::of(&json!(65_535)).number(), Some(65_535), "a job has this number one day");
        // The priorities of a cluster without a plugin for them are close to the largest number, and are none of those.
        assert_eq!(Field::of(&json!(4_294_901_751_u64)).number(), Some(4_294_901_751));
    }

    #[test]
    fn words_are_read_alone_and_in_a_list() {
        let words = |value: Value| Field::of(&value).words();
        assert_eq!(words(json!("FAILED")).as_deref(), Some("FAILED"));
        assert_eq!(words(json!(["COMPLETED", "COMPLETING"])).as_deref(), Some("COMPLETED,COMPLETING"));
        for nothing in [json!([]), json!(""), json!(null), json!(3), json!("(null)"), json!({"a": 1})] {
            assert_eq!(words(nothing), None);
        }
    }

    #[test]
    fn no_time_is_none_however_it_is_written() {
        for never in
            [json!(0), json!(null), json!({"set": true, "infinite": false, "number": 0}), json!(u64::MAX - 2)]
        {
            assert_eq!(Field::of(&never).time(), None, "{never}");
        }
        assert_eq!(Field::of(&json!(2)).time(), Some(Timestamp(2_000_000)));
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,30}") {
            let value = serde_json::from_str::<Value>(&text).unwrap_or(Value::String(text));
            let field = Field::of(&value);
            let _ = (field.number(), field.words(), field.time(), field.small(), field.any(&["a", "number"]).text());
        }
    }
}
