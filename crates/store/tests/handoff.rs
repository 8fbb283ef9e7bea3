//! The hand-off against a real Redis, which is flushed, killed, stopped and fed with nonsense.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use libra_core::id::JobId;
use libra_core::time::Timestamp;
use libra_store::handoff::{Entry, HandOffError, RedisHandOff, Taken, Tuning};
use libra_testkit::{Redis, wait};

const HOST: &str = "machine-1/boot-1";
const STREAM: &str = "libra:handoff:machine-1/boot-1";
/// Long enough for anything; what is there comes at once.
const LONG: Duration = Duration::from_secs(20);
/// For what is not to come.
const SHORT: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_millis(600);

fn entry(n: u8) -> Entry {
    let job_id = JobId::new(Timestamp(i64::from(n) * 1_000_000), [n; 10]);
    Entry { job_id, attempt: u32::from(n) + 1, host: HOST.to_owned() }
}

fn entries(count: u8) -> Vec<Entry> {
    (0..count).map(entry).collect()
}

fn of(taken: &[Taken]) -> Vec<Entry> {
    taken.iter().map(|t| t.entry.clone()).collect()
}

fn open(redis: &Redis) -> RedisHandOff {
    RedisHandOff::new(&redis.url()).unwrap()
}

fn impatient(redis: &Redis) -> RedisHandOff {
    let tuning = Tuning { idle: IDLE, gone: IDLE, max_length: 100, ..Tuning::default() };
    RedisHandOff::tuned(&redis.url(), tuning).unwrap()
}

/// Waits until that many takers wait inside of Redis.
async fn blocked(redis: &Redis, count: usize) {
    let line = format!("blocked_clients:{count}\r\n");
    wait::until_true("takers wait", || redis.command(&["INFO", "clients"]).contains(&line)).await;
}

async fn answers_again(hand_off: &RedisHandOff) {
    let begun = Instant::now();
    while let Err(e) = hand_off.ping().await {
        assert!(begun.elapsed() < LONG, "{e}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Nothing is left of what was settled.
fn assert_empty(redis: &Redis) {
    assert_eq!(redis.command(&["XLEN", STREAM]), "0");
    assert!(redis.command(&["XPENDING", STREAM, "replicas"]).starts_with("0\n"));
}

#[tokio::test]
async fn each_entry_comes_to_one_of_two_consumers() {
    let redis = Redis::start();
    let hand_off = open(&redis);
    let taker = |consumer: &'static str| {
        let hand_off = open(&redis);
        tokio::spawn(async move {
            let mut seen = Vec::new();
            loop {
                let taken = hand_off.take(HOST, consumer, 8, Duration::from_secs(1)).await.unwrap();
                if taken.is_empty() && !seen.is_empty() {
                    return seen;
                }
                seen.extend(of(&taken));
                hand_off.settle(&taken).await.unwrap();
            }
        })
    };
    let takers = [taker("a"), taker("b")];
    blocked(&redis, 2).await;
    for some in entries(200).chunks(3) {
        hand_off.push(some).await.unwrap();
    }
    let mut seen = Vec::new();
    for taker in takers {
        let of_one = taker.await.unwrap();
        assert!(!of_one.is_empty());
        seen.extend(of_one);
    }
    assert_eq!(seen.len(), 200);
    let seen: BTreeSet<_> = seen.iter().map(|e| e.job_id).collect();
    assert_eq!(seen, entries(200).iter().map(|e| e.job_id).collect());
    assert_empty(&redis);
}

#[tokio::test]
async fn entries_go_to_their_host_alone_and_wait_for_it() {
    let redis = Redis::start();
    let hand_off = open(&redis);
    let other = Entry { host: "other".to_owned(), ..entry(1) };
    hand_off.push(&[entry(0), other.clone()]).await.unwrap();
    assert_eq!(of(&hand_off.take("other", "b", 10, LONG).await.unwrap()), [other]);
    let taken = hand_off.take(HOST, "a", 10, LONG).await.unwrap();
    assert_eq!(of(&taken), [entry(0)]);
    hand_off.settle(&taken).await.unwrap();
    assert_empty(&redis);
    assert_eq!(hand_off.take(HOST, "a", 10, SHORT).await, Ok(Vec::new()));
    // The streams of hosts that are no more go by themselves.
    let life: u64 = redis.command(&["PTTL", STREAM]).parse().unwrap();
    assert!(life > 3_000_000, "{life}");
    hand_off.push(&[]).await.unwrap();
    hand_off.settle(&[]).await.unwrap();
}

#[tokio::test]
async fn what_a_dead_consumer_took_goes_to_another_one() {
    let redis = Redis::start();
    let (dead, other) = (impatient(&redis), impatient(&redis));
    dead.push(&entries(2)).await.unwrap();
    let begun = Instant::now();
    assert_eq!(dead.take(HOST, "dead", 10, LONG).await.unwrap().len(), 2);
    drop(dead);
    let taken = loop {
        let taken = other.take(HOST, "other", 10, SHORT).await.unwrap();
        if !taken.is_empty() {
            break taken;
        }
    };
    assert!(begun.elapsed() >= IDLE);
    assert_eq!(of(&taken), entries(2));
    other.settle(&taken).await.unwrap();
    assert_empty(&redis);
    // Its name goes as well, once it has been away for long.
    loop {
        let names = redis.command(&["XINFO", "CONSUMERS", STREAM, "replicas"]);
        assert!(names.contains("other"));
        if !names.contains("dead") {
            break;
        }
        assert!(begun.elapsed() < LONG, "{names}");
        other.take(HOST, "other", 10, SHORT).await.unwrap();
    }
}

#[tokio::test]
async fn a_flush_loses_entries_and_nothing_else() {
    let redis = Redis::start();
    let hand_off = open(&redis);
    hand_off.push(&entries(3)).await.unwrap();
    let taken = hand_off.take(HOST, "a", 1, LONG).await.unwrap();
    redis.flush();
    assert_eq!(hand_off.settle(&taken).await, Ok(()));
    assert_eq!(hand_off.take(HOST, "a", 10, SHORT).await, Ok(Vec::new()));
    // While somebody waits.
    let waiting = hand_off.clone();
    let waiting = tokio::spawn(async move { waiting.take(HOST, "a", 10, LONG).await });
    blocked(&redis, 1).await;
    redis.flush();
    hand_off.push(&[entry(7)]).await.unwrap();
    assert_eq!(of(&waiting.await.unwrap().unwrap()), [entry(7)]);
}

#[tokio::test]
async fn a_killed_redis_is_found_again() {
    let mut redis = Redis::start();
    let hand_off = open(&redis);
    hand_off.push(&entries(3)).await.unwrap();
    let taken = hand_off.take(HOST, "a", 1, LONG).await.unwrap();
    hand_off.take(HOST, "a", 2, LONG).await.unwrap();
    let waiting = hand_off.clone();
    let waiting = tokio::spawn(async move { waiting.take(HOST, "a", 10, LONG).await });
    blocked(&redis, 1).await;
    redis.kill();
    assert!(matches!(waiting.await.unwrap(), Err(HandOffError::Unreachable { .. })));
    for _ in 0..20 {
        assert!(matches!(hand_off.push(&[entry(4)]).await, Err(HandOffError::Unreachable { .. })));
        assert!(matches!(hand_off.settle(&taken).await, Err(HandOffError::Unreachable { .. })));
    }
    assert!(matches!(hand_off.ping().await, Err(HandOffError::Unreachable { .. })));
    redis.start_again();
    answers_again(&hand_off).await;
    hand_off.push(&[entry(5)]).await.unwrap();
    assert_eq!(of(&hand_off.take(HOST, "a", 10, LONG).await.unwrap()), [entry(5)]);
    // A restart that nobody noticed: every connection is dead, and no call fails for it.
    redis.kill();
    redis.start_again();
    hand_off.push(&[entry(6)]).await.unwrap();
    assert_eq!(of(&hand_off.take(HOST, "a", 10, LONG).await.unwrap()), [entry(6)]);
}

#[tokio::test]
async fn a_redis_that_hangs_holds_nobody_up() {
    let redis = Redis::start();
    let hand_off = open(&redis);
    hand_off.ping().await.unwrap();
    redis.pause();
    let begun = Instant::now();
    assert!(matches!(hand_off.push(&[entry(0)]).await, Err(HandOffError::Unreachable { .. })));
    // No second try so soon.
    assert!(matches!(hand_off.push(&[entry(1)]).await, Err(HandOffError::Unreachable { .. })));
    let push_took = begun.elapsed();
    let take = hand_off.take(HOST, "a", 10, SHORT).await;
    let all_took = begun.elapsed();
    redis.resume();
    assert!(matches!(take, Err(HandOffError::Unreachable { .. })));
    // Generous: the machine may be busy. Without limits these would last for ever.
    assert!(push_took < Duration::from_secs(5) && all_took < Duration::from_secs(10));
    answers_again(&hand_off).await;
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_trimmed() {
    let redis = Redis::start();
    let hand_off = impatient(&redis);
    for _ in 0..5 {
        hand_off.push(&entries(200)).await.unwrap();
    }
    let length: usize = redis.command(&["XLEN", STREAM]).parse().unwrap();
    // Redis trims whole nodes of a hundred entries.
    assert!((100..=200).contains(&length), "{length}");
    let taken = hand_off.take(HOST, "a", 1_000, LONG).await.unwrap();
    assert_eq!(taken.last().unwrap().entry, entry(199));
    // Taken, and trimmed before it is settled.
    for _ in 0..5 {
        hand_off.push(&entries(200)).await.unwrap();
    }
    tokio::time::sleep(IDLE).await;
    assert!(!hand_off.take(HOST, "b", 1_000, LONG).await.unwrap().is_empty());
    hand_off.settle(&taken).await.unwrap();
}

#[tokio::test]
async fn what_is_no_entry_is_removed() {
    let redis = Redis::start();
    let hand_off = open(&redis);
    let job = entry(0).job_id.to_string();
    let nonsense: [&[&str]; 5] = [
        &["something", "else"],
        &["jobId", "job-1", "attempt", "1", "host", HOST],
        &["jobId", &job, "attempt", "0", "host", HOST],
        &["jobId", &job, "attempt", "-1", "host", HOST],
        &["jobId", &job, "attempt", "1", "host", "other"],
    ];
    let add = |fields: &[&str]| redis.command(&[&["XADD", STREAM, "*"], fields].concat());
    for fields in nonsense {
        add(fields);
    }
    hand_off.push(&[entry(0)]).await.unwrap();
    let taken = hand_off.take(HOST, "a", 10, LONG).await.unwrap();
    assert_eq!(of(&taken), [entry(0)]);
    hand_off.settle(&taken).await.unwrap();
    assert_empty(&redis);
    // Nonsense alone is nothing, and ends no waiting.
    let waiting = hand_off.clone();
    let waiting = tokio::spawn(async move { waiting.take(HOST, "a", 10, LONG).await });
    blocked(&redis, 1).await;
    add(nonsense[0]);
    wait::until_true("it is removed", || redis.command(&["XLEN", STREAM]) == "0").await;
    hand_off.push(&[entry(1)]).await.unwrap();
    assert_eq!(of(&waiting.await.unwrap().unwrap()), [entry(1)]);
}

#[tokio::test]
async fn a_taker_that_gives_up_takes_nothing_with_it() {
    let redis = Redis::start();
    let hand_off = open(&redis);
    let waiting = hand_off.clone();
    let waiting = tokio::spawn(async move { waiting.take(HOST, "a", 10, LONG).await });
    blocked(&redis, 1).await;
    waiting.abort();
    let _ = waiting.await;
    blocked(&redis, 0).await;
    hand_off.push(&[entry(0)]).await.unwrap();
    assert_eq!(of(&hand_off.take(HOST, "b", 10, LONG).await.unwrap()), [entry(0)]);
}

#[tokio::test]
async fn a_key_of_another_kind_stands_in_the_way_of_its_host_alone() {
    let redis = Redis::start();
    let hand_off = open(&redis);
    redis.command(&["SET", STREAM, "mine"]);
    let other = Entry { host: "other".to_owned(), ..entry(1) };
    let pushed = hand_off.push(&[entry(0), other.clone()]).await;
    assert!(matches!(&pushed, Err(HandOffError::Refused { code, .. }) if code == "WRONGTYPE"), "{pushed:?}");
    let taken = hand_off.take(HOST, "a", 10, SHORT).await;
    assert!(matches!(&taken, Err(HandOffError::Refused { code, .. }) if code == "WRONGTYPE"), "{taken:?}");
    assert_eq!(of(&hand_off.take("other", "b", 10, LONG).await.unwrap()), [other]);
    assert_eq!(redis.command(&["GET", STREAM]), "mine");
}

#[tokio::test]
async fn who_is_not_let_in_is_told_so() {
    let redis = Redis::start_with_password("secret1");
    open(&redis).ping().await.unwrap();
    for (url, code) in [
        (redis.url().replace("secret1", "secret2"), "WRONGPASS"),
        (redis.url().replace(":secret1@", ""), "NOAUTH"),
    ] {
        let refused = RedisHandOff::new(&url).unwrap().ping().await.unwrap_err();
        assert!(matches!(&refused, HandOffError::Refused { code: c, .. } if c == code), "{refused:?}");
        let text = refused.to_string();
        assert!(text.contains(&format!("127.0.0.1:{}", redis.port())) && !text.contains("secret"), "{text}");
        println!("{text}");
    }
    let user = format!("redis://default:secret1@127.0.0.1:{}/3", redis.port());
    RedisHandOff::new(&user).unwrap().push(&[entry(0)]).await.unwrap();
    assert_eq!(redis.command(&["EXISTS", STREAM]), "0", "it went into database 3");
}

#[test]
fn urls_are_read_without_repeating_passwords() {
    for url in
        ["", "secret", "http://secret@host", "unix:///secret", "redis://:secret@", "redis://h:x/secret"]
    {
        let refused = RedisHandOff::new(url).unwrap_err().to_string();
        assert!(!refused.contains("secret"), "{refused}");
    }
    for url in ["redis://host", "redis://:secret@host:1/2", "rediss://user:secret@host"] {
        let debug = format!("{:?}", RedisHandOff::new(url).unwrap());
        assert!(!debug.contains("secret"), "{debug}");
    }
}
