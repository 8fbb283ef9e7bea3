//! The answers as a whole: a list of jobs, errors beside it, and what was made of a request.

use std::fmt;

use libra_core::hpc::record::Record;
use libra_core::time::Timestamp;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::error::{Error, of_list, words};
use super::value::Field;
use super::{accounting, job};

/// Jobs, as far as they could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// One for each job, array task that has begun, part of a heterogeneous job, and array that waits.
    pub records: Vec<Record>,
    /// Jobs that could not be read.
    pub skipped: u32,
}

/// What slurmctld says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The time of its own clock at which it said so.
    pub at: Option<Timestamp>,
    /// Threads that answer requests at this moment.
    pub threads: Option<u32>,
    /// Messages that it has yet to send.
    pub queue: Option<u32>,
}

/// Everything in an answer that is of use.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// None where there is no list at all.
    pub(super) jobs: Option<Listing>,
    pub(super) errors: Vec<Value>,
    /// Of a submission.
    pub(super) job_id: Option<u64>,
    pub(super) load: Load,
}

impl Answer {
    /// Reads an answer of this HTTP status.
    pub(super) fn read(status: u16, body: &[u8]) -> Result<Self, Error> {
        let text = || words(&String::from_utf8_lossy(&body[..body.len().min(4 * super::MOST_WORDS)]));
        // Slurm writes names as people have given them, in whatever encoding: one of them must not hide all jobs.
        let answer = match serde_json::from_str::<Self>(&String::from_utf8_lossy(body)) {
            Ok(answer) => answer,
            // Slurm says these in plain words.
            Err(_) if [401, 403].contains(&status) => return Err(Error::Unauthorised(text())),
            // Of somebody on the way, who may say another thing next time.
            Err(_) if [408, 421, 425, 429].contains(&status) => {
                return Err(Error::Failed(format!("{status} {}", text())));
            }
            Err(_) if (400..500).contains(&status) => {
                return Err(Error::Refused(format!("{status} {}", text())));
            }
            Err(_) if status >= 500 => return Err(Error::Failed(format!("{status} {}", text()))),
            Err(error) => return Err(Error::Garbage(error.to_string())),
        };
        // Of a job that has its number, Slurm only warns: "Required node not available" is what it waits for.
        if answer.job_id.is_some() && (200..300).contains(&status) {
            return Ok(answer);
        }
        match of_list(&answer.errors) {
            Some(error) => Err(error),
            None if [401, 403].contains(&status) => Err(Error::Unauthorised(text())),
            None if !(200..300).contains(&status) => Err(Error::Failed(format!("{status} {}", text()))),
            None => Ok(answer),
        }
    }

    /// The jobs of an answer that has to have a list of them: an empty list is none, and no list is not empty.
    pub(super) fn listing(self) -> Result<Listing, Error> {
        self.jobs.ok_or_else(|| Error::Garbage("it has no list of jobs".to_owned()))
    }
}

/// What is read of a job, by slurmctld's names and by accounting's. The rest, its steps and its cores among it, is most of an
/// answer. In order.
pub(super) const READ: [&str; 47] = [
    "account",
    "allocation_nodes",
    "array",
    "array_job_id",
    "array_task_id",
    "array_task_string",
    "association",
    "batch_flag",
    "cluster",
    "comment",
    "cpus",
    "current_working_directory",
    "end_time",
    "exit_code",
    "gres_detail",
    "het",
    "het_job_id",
    "job_id",
    "job_state",
    "memory_per_node",
    "name",
    "node_count",
    "nodes",
    "partition",
    "priority",
    "qos",
    "required",
    "restart_cnt",
    "standard_error",
    "standard_output",
    "start_time",
    "state",
    "state_reason",
    "stderr_expanded",
    "stdout_expanded",
    "submit_time",
    "time",
    "time_limit",
    "tres",
    "tres_alloc_str",
    "tres_per_job",
    "tres_per_node",
    "tres_req_str",
    "user",
    "user_id",
    "user_name",
    "working_directory",
];

/// One job, as far as it is read; null for what is none.
struct Job(Value);

impl<'de> Deserialize<'de> for Job {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Parts;

        impl<'de> Visitor<'de> for Parts {
            type Value = Job;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a job")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Job, A::Error> {
                let mut parts = serde_json::Map::new();
                while let Some(name) = map.next_key::<String>()? {
                    if READ.binary_search(&name.as_str()).is_ok() {
                        parts.insert(name, map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Job(Value::Object(parts)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Job, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Job(Value::Null))
            }

            fn visit_unit<E>(self) -> Result<Job, E> {
                Ok(Job(Value::Null))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Job, E> {
                Ok(Job(Value::Null))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Job, E> {
                Ok(Job(Value::Null))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Job, E> {
                Ok(Job(Value::Null))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Job, E> {
                Ok(Job(Value::Null))
            }

            fn visit_str<E>(self, _: &str) -> Result<Job, E> {
                Ok(Job(Value::Null))
            }
        }

        from.deserialize_any(Parts)
    }
}

/// Jobs are read one by one: a whole list as JSON in memory is ten times what is kept of it.
impl<'de> Deserialize<'de> for Listing {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Jobs;

        impl<'de> Visitor<'de> for Jobs {
            type Value = Listing;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of jobs")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Listing, A::Error> {
                let mut listing = Listing::default();
                while let Some(Job(value)) = list.next_element()? {
                    let field = Field::of(&value);
                    let is_accounted = field.at("state").is_there();
                    let record = if is_accounted { accounting::read(field) } else { job::read(field) };
                    match record {
                        Some(record) => listing.records.push(record),
                        None => listing.skipped = listing.skipped.saturating_add(1),
                    }
                }
                Ok(listing)
            }
        }

        from.deserialize_seq(Jobs)
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Answer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an answer of Slurm's")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Answer, A::Error> {
                let mut answer = Answer::default();
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "jobs" => answer.jobs = map.next_value()?,
                        "errors" => {
                            let errors = map.next_value::<Value>()?;
                            answer.errors = errors.as_array().cloned().unwrap_or_default();
                        }
                        "job_id" => answer.job_id = Field::of(&map.next_value::<Value>()?).positive(),
                        // Where an older answer has the number at the top, a newer one has it there and here.
                        "result" => {
                            let result = map.next_value::<Value>()?;
                            answer.job_id = answer.job_id.or(Field::of(&result).at("job_id").positive());
                        }
                        "statistics" => {
                            let statistics = map.next_value::<Value>()?;
                            let statistics = Field::of(&statistics);
                            answer.load = Load {
                                at: statistics.at("req_time").time(),
                                threads: statistics.at("server_thread_count").small(),
                                queue: statistics.at("agent_queue_size").small(),
                            };
                        }
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(answer)
            }
        }

        from.deserialize_map(Fields)
    }
}
