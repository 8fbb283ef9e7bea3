//! From recorded figures: whole GPUs, shared ones, and divided ones.

use super::*;
use crate::gpu::GpuProcess;

fn job(id: &str) -> Job {
    Job::Scheduled(id.to_owned())
}

fn process(pid: u32, memory: u64, usage: Option<f64>) -> GpuProcess {
    GpuProcess { pid, memory: Some(memory), usage }
}

fn whole(minor: u32, processes: Vec<GpuProcess>) -> Device {
    Device {
        uuid: format!("GPU-{minor}"),
        minor: Some(minor),
        usage: Some(80.0),
        power_watts: Some(300.0),
        energy_joules: Some(1_000.0),
        instances: None,
        processes,
    }
}

/// The hundreds of a pid are its job.
fn owner(pid: u32) -> Option<Job> {
    (pid >= 100).then(|| job(&(pid / 100).to_string()))
}

#[test]
fn a_gpu_that_a_job_has_alone_speaks_for_it() {
    let devices =
        [whole(0, vec![process(100, 5, None), process(101, 7, None)]), whole(1, vec![process(200, 1, None)])];
    let uses = assign(&devices, owner, &BTreeMap::new());
    let one = &uses[&job("1")];
    assert_eq!((one.usage, one.memory, one.power_watts), (Some(80.0), Some(12), Some(300.0)));
    assert_eq!(one.energy_joules, Some(BTreeMap::from([("GPU-0".to_owned(), 1_000.0)])));
    assert_eq!(uses[&job("2")].memory, Some(1));
    assert_eq!(uses.len(), 2);
}

#[test]
fn a_gpu_that_was_given_and_is_not_used_counts_as_idle() {
    let idle = Device { usage: Some(0.0), power_watts: Some(60.0), ..whole(1, vec![]) };
    let devices = [whole(0, vec![process(100, 5, None)]), idle, whole(2, vec![])];
    let uses = assign(&devices, owner, &BTreeMap::from([(job("1"), vec![0, 1])]));
    let one = &uses[&job("1")];
    assert_eq!((one.usage, one.memory, one.power_watts), (Some(40.0), Some(5), Some(360.0)));
    assert_eq!(one.energy_joules.as_ref().map(BTreeMap::len), Some(2));
    assert_eq!(uses.len(), 1, "nobody has the third one");
}

#[test]
fn on_a_shared_gpu_each_has_its_own_figures_and_nobody_the_sum() {
    let shared =
        whole(0, vec![process(100, 5, Some(30.0)), process(101, 5, Some(20.0)), process(200, 9, None)]);
    let uses = assign(&[shared], owner, &BTreeMap::new());
    let (one, two) = (&uses[&job("1")], &uses[&job("2")]);
    assert_eq!((one.usage, one.memory, one.power_watts), (Some(50.0), Some(10), None));
    assert_eq!((two.usage, two.memory, two.energy_joules.clone()), (None, Some(9), None));
    // A stranger's process is a share as well.
    let uses = assign(
        &[whole(0, vec![process(100, 5, Some(30.0)), process(7, 1, Some(9.0))])],
        owner,
        &BTreeMap::new(),
    );
    assert_eq!((uses[&job("1")].usage, uses[&job("1")].power_watts), (Some(30.0), None));
}

#[test]
fn on_a_divided_gpu_memory_is_known_and_the_rest_is_not() {
    // Recorded figures of a GPU with MIG: the parent has no utilisation, its instances' processes have memory alone.
    let divided = Device {
        usage: None,
        instances: Some(2),
        processes: vec![process(100, 10 << 30, None), process(200, 20 << 30, None)],
        ..whole(0, vec![])
    };
    let uses = assign(std::slice::from_ref(&divided), owner, &BTreeMap::from([(job("3"), vec![0])]));
    for (id, memory) in [("1", 10 << 30), ("2", 20 << 30)] {
        let of = &uses[&job(id)];
        assert_eq!((of.usage, of.memory, of.power_watts), (None, Some(memory), None), "{id}");
    }
    assert!(!uses.contains_key(&job("3")), "an instance has no number of its own");
    // One job on one of two instances: who has the other one is not known, so the watts are nobody's.
    let one = Device { processes: vec![process(100, 1, None)], ..divided.clone() };
    assert_eq!(assign(&[one], owner, &BTreeMap::new())[&job("1")].power_watts, None);
    let only = Device { instances: Some(1), processes: vec![process(100, 1, None)], ..divided };
    assert_eq!(assign(&[only], owner, &BTreeMap::new())[&job("1")].power_watts, Some(300.0));
}

#[test]
fn energy_is_summed_over_gpus_that_come_and_go_and_never_falls() {
    let at = |figures: &[(&str, f64)]| {
        figures.iter().map(|(uuid, j)| ((*uuid).to_owned(), *j)).collect::<BTreeMap<_, _>>()
    };
    let mut meter = Meter::default();
    assert_eq!(meter.look(Some(&at(&[("a", 100.0)]))), Some(0.0));
    assert_eq!(meter.look(Some(&at(&[("a", 150.0), ("b", 900.0)]))), Some(50.0));
    assert_eq!(
        meter.look(Some(&at(&[("a", 10.0), ("b", 930.0)]))),
        Some(80.0),
        "a's driver was loaded again"
    );
    meter.rest();
    assert_eq!(meter.look(Some(&at(&[("a", 910.0)]))), Some(80.0), "others have had it meanwhile");
    assert_eq!(meter.look(Some(&at(&[("a", 915.0)]))), Some(85.0));
    assert_eq!(meter.look(None), None);
    assert_eq!(meter.look(Some(&at(&[("a", 20.0)]))), None, "a part of it is missing for ever");
}
