//! What is taken, and what is refused with its place and its field.

use super::*;

const NOW: Timestamp = Timestamp(1_764_671_400_000_000);

fn sample() -> JobSample {
    let (external_job_id, timestamp) = (Some("17".to_owned()), NOW.rfc3339());
    JobSample { external_job_id, timestamp, io_read_bytes: Some(5), ..JobSample::default() }
}

fn batch(samples: Vec<JobSample>) -> SampleBatch {
    SampleBatch { cluster: "c1".to_owned(), node: "n1".to_owned(), samples, node_totals: None }
}

#[test]
fn what_is_unknown_is_not_on_the_wire() {
    let text = serde_json::to_string(&batch(vec![sample()])).unwrap();
    let wanted = r#"{"cluster":"c1","node":"n1","samples":[{"external_job_id":"17","timestamp":"2025-12-02T10:30:00.000Z","io_read_bytes":5}]}"#;
    assert_eq!(text, wanted);
    assert_eq!(serde_json::from_str::<SampleBatch>(&text).unwrap(), batch(vec![sample()]));
}

#[test]
fn a_newer_agent_may_say_more() {
    let text = r#"{"cluster":"c","node":"n","more":1,"samples":[{"attempt":"t","timestamp":"2025-12-02T10:30:00Z","memory_usage_mb":5,"new":{}}]}"#;
    let read: SampleBatch = serde_json::from_str(text).unwrap();
    assert_eq!(read.samples[0].memory_usage_mb, Some(5.0));
    assert_eq!(read.check(NOW), Ok(vec![]));
}

#[test]
fn what_can_not_be_true_is_refused_with_its_place_and_field() {
    let wrong: Vec<(&str, JobSample)> = vec![
        ("external_job_id is missing", JobSample { external_job_id: None, ..sample() }),
        ("attempt must be absent", JobSample { attempt: Some("t".to_owned()), ..sample() }),
        ("external_job_id must not be empty", JobSample { external_job_id: Some(String::new()), ..sample() }),
        ("timestamp must be a time", JobSample { timestamp: "now".to_owned(), ..sample() }),
        ("cpu_usage must be a number, not NaN", JobSample { cpu_usage: Some(f64::NAN), ..sample() }),
        ("cpu_usage must be at most 100", JobSample { cpu_usage: Some(100.1), ..sample() }),
        ("cpu_cores must be a number, not inf", JobSample { cpu_cores: Some(f64::INFINITY), ..sample() }),
        ("memory_usage_mb must not be negative", JobSample { memory_usage_mb: Some(-0.5), ..sample() }),
        ("memory_peak_mb must not be negative", JobSample { memory_peak_mb: Some(-1.0), ..sample() }),
        ("gpu_usage must not be negative", JobSample { gpu_usage: Some(-1.0), ..sample() }),
        ("gpu_memory_mb must be a number", JobSample { gpu_memory_mb: Some(f64::NAN), ..sample() }),
        ("gpu_power_watts must not be negative", JobSample { gpu_power_watts: Some(-1.0), ..sample() }),
        ("gpu_energy_joules must be", JobSample { gpu_energy_joules: Some(f64::NEG_INFINITY), ..sample() }),
        ("io_read_bytes must not be negative", JobSample { io_read_bytes: Some(-1), ..sample() }),
        ("io_write_bytes must not be negative", JobSample { io_write_bytes: Some(-1), ..sample() }),
        ("processes must not be negative", JobSample { processes: Some(-1), ..sample() }),
        ("cpu_usage is absent", JobSample { io_read_bytes: None, processes: Some(3), ..sample() }),
    ];
    let mut samples = vec![sample()];
    samples.extend(wrong.iter().map(|(_, sample)| sample.clone()));
    let rejected = batch(samples).check(NOW).unwrap();
    assert_eq!(rejected.len(), wrong.len(), "{rejected:?}");
    for (place, (rejected, (reason, _))) in rejected.iter().zip(&wrong).enumerate() {
        assert_eq!(rejected.index, Some(u32::try_from(place).unwrap() + 1), "the first one is fine");
        assert!(rejected.reason.starts_with(reason), "{} instead of {reason}", rejected.reason);
    }
}

#[test]
fn a_clock_may_be_wrong_by_a_little_and_a_sample_may_have_waited() {
    let at =
        |seconds| JobSample { timestamp: NOW.plus_seconds(seconds).rfc3339(), ..sample() }.check(NOW).is_ok();
    assert!(at(0) && at(MAX_AHEAD_SECONDS) && at(-MAX_AGE_SECONDS));
    assert!(!at(MAX_AHEAD_SECONDS + 1) && !at(-MAX_AGE_SECONDS - 1));
}

#[test]
fn a_batch_has_names_and_a_bound() {
    let pointer = |batch: SampleBatch| batch.check(NOW).unwrap_err().pointer;
    assert_eq!(pointer(SampleBatch { cluster: String::new(), ..batch(vec![]) }), "/cluster");
    assert_eq!(pointer(SampleBatch { node: "a b".to_owned(), ..batch(vec![]) }), "/node");
    assert_eq!(pointer(SampleBatch { node: "n".repeat(MAX_NAME_BYTES + 1), ..batch(vec![]) }), "/node");
    assert_eq!(pointer(batch(vec![sample(); MAX_SAMPLES + 1])), "/samples");
    assert_eq!(batch(vec![sample(); MAX_SAMPLES]).check(NOW), Ok(vec![]));
}

#[test]
fn wrong_totals_do_not_hold_up_the_samples() {
    let fine = NodeTotals { timestamp: NOW.rfc3339(), cpus: Some(4), ..NodeTotals::default() };
    let wrong = NodeTotals { memory_total_mb: Some(f64::NAN), ..fine.clone() };
    let with =
        |totals| SampleBatch { node_totals: Some(totals), ..batch(vec![sample()]) }.check(NOW).unwrap();
    assert_eq!(with(fine), vec![]);
    let rejected = with(wrong);
    assert_eq!(rejected[0].index, None);
    assert_eq!(rejected[0].reason, "node_totals.memory_total_mb must be a number, not NaN");
}

proptest::proptest! {
    #[test]
    fn no_number_and_no_text_makes_the_check_panic(
        value in proptest::num::f64::ANY, count in proptest::num::i64::ANY, text in ".{0,40}",
    ) {
        let odd = JobSample {
            external_job_id: Some(text.clone()),
            timestamp: text.clone(),
            cpu_usage: Some(value),
            io_read_bytes: Some(count),
            ..sample()
        };
        let known = JobSample { cpu_usage: Some(value), processes: Some(count), ..sample() };
        let taken = known.check(NOW).is_ok();
        proptest::prop_assert_eq!(taken, (0.0..=100.0).contains(&value) && count >= 0);
        let _ = odd.check(NOW);
    }
}
