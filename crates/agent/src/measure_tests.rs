//! Rates and peaks from made-up counters: none at first, and nothing absurd later.

use super::*;

const NOW: Timestamp = Timestamp(1_764_671_400_000_000);
const MIB: u64 = 1 << 20;

fn rates() -> Rates<'static> {
    Rates { since: 0, processors: Some(4.0), proc: Path::new("/proc") }
}

fn part(seconds: u64, reading: Reading) -> Parts {
    Parts { at: Duration::from_secs(seconds), reading: Some(reading), ..Parts::default() }
}

fn cpu(seconds: f64) -> Reading {
    Reading {
        cpu_nanos: u64::try_from(Duration::from_secs_f64(seconds).as_nanos()).ok(),
        processors: Some(2.0),
        ..Reading::default()
    }
}

fn look(history: &mut History, part: Parts) -> JobSample {
    history.sample(&Job::Scheduled("1".to_owned()), part, None, &rates(), NOW)
}

#[test]
fn the_first_look_has_no_rate_and_the_second_has() {
    let mut history = History::default();
    let first = look(&mut history, part(100, cpu(50.0)));
    assert_eq!((first.cpu_usage, first.cpu_cores), (None, None));
    let second = look(&mut history, part(110, cpu(65.0)));
    assert_eq!((second.cpu_usage, second.cpu_cores), (Some(75.0), Some(1.5)));
    assert_eq!(second.memory_usage_mb, None, "what is not counted is unknown, not zero");
}

#[test]
fn a_counter_that_falls_and_a_clock_that_jumps_give_no_rate() {
    let mut history = History::default();
    look(&mut history, part(100, cpu(50.0)));
    assert_eq!(look(&mut history, part(110, cpu(3.0))).cpu_cores, None, "the counter began again");
    assert_eq!(look(&mut history, part(120, cpu(13.0))).cpu_cores, Some(1.0));
    assert_eq!(look(&mut history, part(120, cpu(14.0))).cpu_cores, None, "no time has gone by");
    assert_eq!(look(&mut history, part(90, cpu(15.0))).cpu_cores, None, "the clock went back");
    assert_eq!(look(&mut history, part(100, cpu(25.0))).cpu_cores, Some(1.0));
    assert_eq!(look(&mut history, part(101, cpu(90.0))).cpu_cores, None, "65 of 4 processors");
    let over = look(&mut history, part(111, cpu(131.0)));
    assert_eq!((over.cpu_cores, over.cpu_usage), (Some(4.0), Some(100.0)), "a little too much is inaccuracy");
}

#[test]
fn a_counter_that_falls_gives_no_rate_on_a_node_of_unknown_size_either() {
    let unknown = Rates { processors: None, ..rates() };
    let mut history = History::default();
    let mut look = |part| history.sample(&Job::Scheduled("1".to_owned()), part, None, &unknown, NOW);
    look(part(100, cpu(50.0)));
    assert_eq!(look(part(110, cpu(49.0))).cpu_cores, None);
    assert_eq!(look(part(120, cpu(59.0))).cpu_cores, Some(1.0));
}

#[test]
fn who_counts_must_be_the_same_at_both_looks() {
    let mut history = History::default();
    look(&mut history, part(100, cpu(50.0)));
    let gone = Parts { at: Duration::from_secs(110), reading: None, ..Parts::default() };
    assert_eq!(look(&mut history, gone).cpu_cores, None);
}

#[test]
fn the_kernels_peak_counts_unless_file_pages_are_in_it() {
    let memory = |used: u64, files: u64, peak: u64| Reading {
        working_set: Some(used * MIB),
        file_pages: Some(files * MIB),
        peak: Some(peak * MIB),
        ..Reading::default()
    };
    let mut history = History::default();
    let sample = look(&mut history, part(1, memory(100, 2, 400)));
    assert_eq!((sample.memory_usage_mb, sample.memory_peak_mb), (Some(100.0), Some(400.0)));
    // It reads files: the mark rises, and what the program holds does not.
    let sample = look(&mut history, part(2, memory(120, 900, 1_000)));
    assert_eq!(sample.memory_peak_mb, Some(120.0));
    let sample = look(&mut history, part(3, memory(90, 0, 1_000)));
    assert_eq!(sample.memory_peak_mb, Some(120.0), "they are in the mark for ever");
    let unknown = Reading { file_pages: None, ..memory(50, 0, 1_000) };
    assert_eq!(look(&mut History::default(), part(1, unknown)).memory_peak_mb, Some(50.0));
}

#[test]
fn bytes_never_fall() {
    let io = |read, written| Reading {
        cpu_nanos: Some(0),
        read_bytes: read,
        written_bytes: written,
        ..Reading::default()
    };
    let mut history = History::default();
    let of = |sample: JobSample| (sample.io_read_bytes, sample.io_write_bytes);
    assert_eq!(of(look(&mut history, part(1, io(Some(10), Some(5))))), (Some(10), Some(5)));
    assert_eq!(of(look(&mut history, part(2, io(Some(7), None)))), (Some(10), None));
}

proptest::proptest! {
    #[test]
    fn no_counters_give_a_figure_that_is_refused(looks in proptest::collection::vec(
        (proptest::num::u64::ANY, proptest::num::u64::ANY, proptest::num::u64::ANY, 0u64..200), 1..6,
    )) {
        let mut history = History::default();
        for (cpu, memory, peak, at) in looks {
            let reading = Reading {
                cpu_nanos: Some(cpu), working_set: Some(memory), peak: Some(peak), file_pages: Some(0),
                read_bytes: Some(cpu), ..Reading::default()
            };
            let sample = look(&mut history, part(at, reading));
            // What has none is not sent.
            proptest::prop_assert!(!sample.has_figures() || sample.check(NOW) == Ok(()), "{:?}", sample);
            proptest::prop_assert!(sample.cpu_cores.is_none_or(|cores| (0.0..=4.0).contains(&cores)));
            proptest::prop_assert!(sample.memory_peak_mb >= sample.memory_usage_mb);
        }
    }
}
