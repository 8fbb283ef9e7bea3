//! Fields of a batch that nobody here knows: a newer agent may say more, and whoever has misspelled one is told.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::samples::{JobSample, NodeTotals, SampleBatch};
use crate::fields::{escape, nearest};
use crate::problem::Violation;

/// Unknown fields that are named, at most.
pub const MOST_NAMED: usize = 20;

/// So much of a name is kept, in bytes.
const MOST_NAME_BYTES: usize = 128;

/// An object with fields of its own.
trait Known {
    const FIELDS: &'static [&'static str];
}

impl Known for SampleBatch {
    const FIELDS: &'static [&'static str] = &["cluster", "node", "samples", "node_totals"];
}

impl Known for JobSample {
    const FIELDS: &'static [&'static str] = &[
        "external_job_id",
        "attempt",
        "timestamp",
        "cpu_usage",
        "cpu_cores",
        "memory_usage_mb",
        "memory_peak_mb",
        "gpu_usage",
        "gpu_memory_mb",
        "gpu_power_watts",
        "gpu_energy_joules",
        "io_read_bytes",
        "io_write_bytes",
        "processes",
    ];
}

impl Known for NodeTotals {
    const FIELDS: &'static [&'static str] =
        &["timestamp", "cpu_usage", "cpus", "memory_used_mb", "memory_total_mb", "gpu_usage", "gpus"];
}

/// The names of an object's fields that are not known. Nothing of the known ones is kept.
struct Strange<K>(Vec<String>, PhantomData<K>);

impl<'de, K: Known> Deserialize<'de> for Strange<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Object(PhantomData))
    }
}

struct Object<K>(PhantomData<K>);

impl<'de, K: Known> Visitor<'de> for Object<K> {
    type Value = Strange<K>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut strange = Vec::new();
        while let Some(Name(name, _)) = map.next_key::<Name<K>>()? {
            map.next_value::<IgnoredAny>()?;
            if strange.len() < MOST_NAMED {
                strange.extend(name);
            }
        }
        Ok(Strange(strange, PhantomData))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Strange(Vec::new(), PhantomData))
    }
}

/// A field's name, where it is not known.
struct Name<K>(Option<String>, PhantomData<K>);

impl<'de, K: Known> Deserialize<'de> for Name<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<K>(PhantomData<K>);
        impl<K: Known> Visitor<'_> for Text<K> {
            type Value = Name<K>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
                let kept = || name[..name.floor_char_boundary(MOST_NAME_BYTES)].to_owned();
                Ok(Name((!K::FIELDS.contains(&name)).then(kept), PhantomData))
            }
        }
        deserializer.deserialize_str(Text(PhantomData))
    }
}

/// Those of the samples that have unknown fields, with their places.
#[derive(Default)]
struct Places(Vec<(usize, Vec<String>)>);

impl<'de> Deserialize<'de> for Places {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Places;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Places, A::Error> {
                let (mut found, mut place) = (Vec::new(), 0);
                while let Some(Strange(names, _)) = list.next_element::<Strange<JobSample>>()? {
                    if !names.is_empty() && found.len() < MOST_NAMED {
                        found.push((place, names));
                    }
                    place += 1;
                }
                Ok(Places(found))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    samples: Places,
    node_totals: Option<Strange<NodeTotals>>,
}

/// Names the fields of a batch that are not known, [`MOST_NAMED`] of them at most; none of what is no batch at all.
pub fn unknown_fields(batch: &[u8]) -> Vec<Violation> {
    let mut named = Vec::new();
    if let Ok(Strange(names, _)) = serde_json::from_slice::<Strange<SampleBatch>>(batch) {
        named.extend(violations::<SampleBatch>("", &names));
    }
    if let Ok(parts) = serde_json::from_slice::<Parts>(batch) {
        for (place, names) in parts.samples.0 {
            named.extend(violations::<JobSample>(&format!("/samples/{place}"), &names));
        }
        if let Some(Strange(names, _)) = parts.node_totals {
            named.extend(violations::<NodeTotals>("/node_totals", &names));
        }
    }
    named.truncate(MOST_NAMED);
    named
}

fn violations<K: Known>(at: &str, names: &[String]) -> Vec<Violation> {
    let unknown = |name: &String| {
        let near = nearest(name, K::FIELDS).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        Violation::new(format!("{at}/{}", escape(name)), format!("is not a known field{near}"))
    };
    names.iter().map(unknown).collect()
}

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema;

    use super::*;

    fn described<T: PartialSchema>() -> Vec<String> {
        let schema = serde_json::to_value(T::schema()).unwrap();
        schema["properties"].as_object().unwrap().keys().cloned().collect()
    }

    fn sorted(fields: &[&str]) -> Vec<String> {
        let mut fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        fields.sort();
        fields
    }

    #[test]
    fn what_is_known_is_what_is_described() {
        let with = |mut described: Vec<String>| {
            described.sort();
            described
        };
        assert_eq!(with(described::<SampleBatch>()), sorted(SampleBatch::FIELDS));
        assert_eq!(with(described::<JobSample>()), sorted(JobSample::FIELDS));
        assert_eq!(with(described::<NodeTotals>()), sorted(NodeTotals::FIELDS));
    }

    #[test]
    fn unknown_fields_are_named_with_their_place() {
        let batch =
            br#"{"cluster":"c","node":"n","nodes":1,"samples":[{"external_job_id":"1","timestamp":"t"},
            {"job_id":{"a":[1]},"cpu_usgae":5,"timestamp":"t"}],"node_totals":{"cpu":3}}"#;
        let named: Vec<String> = unknown_fields(batch).into_iter().map(|named| named.pointer).collect();
        assert_eq!(named, ["/nodes", "/samples/1/job_id", "/samples/1/cpu_usgae", "/node_totals/cpu"]);
        assert!(unknown_fields(batch)[2].reason.contains("`cpu_usage`"));
        for fine in [&br#"{"cluster":"c","node":"n","samples":[],"node_totals":null}"#[..], b"[]", b"{", b"5"]
        {
            assert_eq!(unknown_fields(fine), []);
        }
        let many = format!(r#"{{"samples":[{}]}}"#, vec![r#"{"a":1,"b":2}"#; 500].join(","));
        assert_eq!(unknown_fields(many.as_bytes()).len(), MOST_NAMED);
        let long = format!(r#"{{"{}":1}}"#, "\u{e9}".repeat(1_000));
        assert_eq!(unknown_fields(long.as_bytes())[0].pointer.len(), 1 + MOST_NAME_BYTES);
        let each: Vec<String> = (0..500).map(|n| format!(r#""f{n}":1"#)).collect();
        assert_eq!(unknown_fields(format!("{{{}}}", each.join(",")).as_bytes()).len(), MOST_NAMED);
    }
}
