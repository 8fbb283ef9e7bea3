//! What is put in comes out once, the oldest first, and after a `kill -9` as well.

use super::*;

fn text(number: u64, samples: usize) -> String {
    let samples = vec!["{}"; samples].join(",");
    format!(r#"{{"number":{number},"samples":[{samples}]}}"#)
}

/// Takes everything that is there.
fn drain(spool: &mut Spool) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(batch) = spool.oldest() {
        spool.done(&batch);
        all.push(batch.text);
    }
    all
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(EXTENSION));
    names.sort();
    names
}

#[test]
fn what_was_put_in_comes_out_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    for mut spool in [Spool::open(dir.path(), 1 << 20).unwrap(), Spool::in_memory()] {
        for number in 0..5 {
            spool.put(text(number, 2), 2).unwrap();
        }
        let first = spool.oldest().unwrap();
        assert_eq!((first.text.clone(), first.samples), (text(0, 2), 2));
        assert_eq!(spool.oldest(), Some(first.clone()), "it stays until it was taken");
        spool.done(&first);
        spool.done(&first);
        assert_eq!(drain(&mut spool), (1..5).map(|number| text(number, 2)).collect::<Vec<_>>());
        assert_eq!((spool.bytes(), spool.lost()), (0, Lost::default()));
        spool.put(text(9, 0), 0).unwrap();
        assert_eq!(drain(&mut spool), [text(9, 0)]);
    }
    assert_eq!(files(dir.path()), Vec::<String>::new(), "what was taken needs no disk");
}

#[test]
fn the_next_life_finds_what_was_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(dir.path(), 1 << 20).unwrap();
    for number in 0..4 {
        spool.put(text(number, 1), 1).unwrap();
    }
    for _ in 0..2 {
        let batch = spool.oldest().unwrap();
        spool.done(&batch);
    }
    // As a kill leaves it: nothing is closed, flushed or tidied.
    drop(spool);
    let mut spool = Spool::open(dir.path(), 1 << 20).unwrap();
    spool.put(text(4, 1), 1).unwrap();
    assert_eq!(drain(&mut spool), [text(2, 1), text(3, 1), text(4, 1)]);
}

#[test]
fn a_torn_line_is_left_out_and_those_around_it_are_not() {
    let whole = text(0, 1);
    for cut in 0..=whole.len() {
        let dir = tempfile::tempdir().unwrap();
        let lines = format!("{}\n{}", text(1, 1), &whole[..cut]);
        fs::write(dir.path().join("00000000000000000001.jsonl"), lines).unwrap();
        let mut spool = Spool::open(dir.path(), 1 << 20).unwrap();
        spool.put(text(2, 1), 1).unwrap();
        assert_eq!(drain(&mut spool), [text(1, 1), text(2, 1)], "cut at {cut}");
        assert_eq!(spool.lost().torn, u64::from(cut > 0), "cut at {cut}");
    }
    // A damaged line in the midst of others as well.
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("00000000000000000007.jsonl"),
        format!("{}\n\0\0\n{}\n", text(1, 1), text(3, 1)),
    )
    .unwrap();
    let mut spool = Spool::open(dir.path(), 1 << 20).unwrap();
    assert_eq!(drain(&mut spool), [text(1, 1), text(3, 1)]);
}

#[test]
fn what_was_noted_of_a_file_that_is_gone_does_not_hold_for_another() {
    let dir = tempfile::tempdir().unwrap();
    for life in 0..3 {
        let mut spool = Spool::open(dir.path(), 1 << 20).unwrap();
        for number in 0..3 {
            spool.put(text(10 * life + number, 1), 1).unwrap();
        }
        // The first two are noted, the third one takes the file along.
        assert_eq!(drain(&mut spool).len(), 3, "life {life}");
        drop(spool);
        let mut next = Spool::open(dir.path(), 1 << 20).unwrap();
        next.put(text(99, 1), 1).unwrap();
        drop(next);
        assert_eq!(drain(&mut Spool::open(dir.path(), 1 << 20).unwrap()), [text(99, 1)], "life {life}");
    }
}

#[test]
fn a_full_spool_drops_its_oldest_and_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    let most = 16_000;
    let mut spool = Spool::open(dir.path(), most).unwrap();
    for number in 0..1_000 {
        spool.put(text(number, 3), 3).unwrap();
        assert!(spool.bytes() <= most);
    }
    let dropped = spool.lost().dropped;
    let left = drain(&mut spool);
    assert_eq!(left.len() as u64 * 3 + dropped, 3_000, "each is there or counted");
    assert!(left.len() as u64 * 30 > most / 2, "no more than needed is dropped: {}", left.len());
    assert_eq!(left.last(), Some(&text(999, 3)));
    assert_eq!(left[0], text(1_000 - left.len() as u64, 3));
}

#[test]
fn what_is_dropped_while_it_is_sent_takes_nothing_else_along() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(dir.path(), 1_600).unwrap();
    spool.put(text(0, 1), 1).unwrap();
    let under_way = spool.oldest().unwrap();
    for number in 1..200 {
        spool.put(text(number, 1), 1).unwrap();
    }
    let (dropped, oldest) = (spool.lost().dropped, spool.oldest());
    spool.done(&under_way);
    assert_eq!((spool.lost().dropped, spool.oldest()), (dropped, oldest));
}

#[test]
fn memory_is_bounded_as_well() {
    let mut spool = Spool::in_memory();
    let long = text(1, 10_000);
    for _ in 0..200 {
        spool.put(long.clone(), 10_000).unwrap();
    }
    assert!(spool.bytes() <= MEMORY_BYTES);
    assert_eq!(drain(&mut spool).len() as u64 * 10_000 + spool.lost().dropped, 2_000_000);
}

#[test]
fn a_disk_that_takes_nothing_does_not_lose_what_was_seen() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(dir.path(), 1 << 20).unwrap();
    spool.put(text(0, 1), 1).unwrap();
    assert_eq!(drain(&mut spool), [text(0, 1)]);
    fs::remove_dir_all(dir.path()).unwrap();
    assert!(spool.put(text(1, 1), 1).is_err());
    fs::create_dir_all(dir.path()).unwrap();
    spool.put(text(2, 1), 1).unwrap();
    let mut all = drain(&mut spool);
    all.sort();
    assert_eq!((all, spool.bytes()), (vec![text(1, 1), text(2, 1)], 0));
}

#[test]
fn two_agents_do_not_share_a_spool() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), 1 << 20).unwrap();
    assert!(matches!(Spool::open(dir.path(), 1 << 20), Err(SpoolError::Taken(_))));
    drop(spool);
    assert!(Spool::open(dir.path(), 1 << 20).is_ok());
    assert!(matches!(Spool::open(Path::new("/proc/none"), 1), Err(SpoolError::Unusable(..))));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn nothing_is_lost_without_being_counted(steps in proptest::collection::vec(0u8..4, 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let most = 600;
        let mut spool = Spool::open(dir.path(), most).unwrap();
        let (mut put, mut taken, mut dropped) = (0, Vec::new(), 0);
        for step in steps {
            match step {
                0 | 1 => {
                    spool.put(text(put, 1), 1).unwrap();
                    put += 1;
                }
                2 => {
                    if let Some(batch) = spool.oldest() {
                        spool.done(&batch);
                        taken.push(batch.text);
                    }
                }
                _ => {
                    dropped += spool.lost().dropped;
                    drop(spool);
                    spool = Spool::open(dir.path(), most).unwrap();
                }
            }
        }
        dropped += spool.lost().dropped;
        taken.extend(drain(&mut spool));
        let mut distinct = taken.clone();
        distinct.dedup();
        proptest::prop_assert_eq!(&distinct, &taken, "none comes out twice without a kill");
        proptest::prop_assert_eq!(taken.len() as u64 + dropped, put);
    }
}
