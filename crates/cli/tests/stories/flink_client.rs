//! The client of Flink's REST API against a real session cluster: what it asks for happens, and what Flink answers is
//! understood.

mod afresh;
mod refusals;
mod settings;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use libra_core::deployment::reconcile::{
    Act, Cluster, Desired, Fate, FlinkId, Job, JobState, Kind, Mode, Observed, Operation, Retention, Row,
    Run, Stability, Timing, Trigger, Upgrade, Version,
};
use libra_core::time::Timestamp;
use libra_engines::flink::{Access, Error, Flink, JobLine, Known, Look, RunRequest, all_tasks_run};
use libra_testkit::{FlinkCluster, flink, wait};
use tokio::sync::Mutex;

/// The mark of ids that are made here.
const IDS: u128 = 0x51_0e1d << 64;

/// The client of a cluster.
fn client(cluster: &FlinkCluster) -> Flink {
    Flink::new(&Access { url: cluster.url(), ..Access::default() }).unwrap()
}

/// An id that nobody had before in this process, whose clusters nobody else uses.
fn fresh() -> FlinkId {
    static LAST: AtomicU32 = AtomicU32::new(0);
    FlinkId(IDS | u128::from(LAST.fetch_add(1, Ordering::Relaxed) + 1))
}

/// Flink's id of a jar, which is uploaded where the cluster does not have it: once, whoever needs it at the same time.
async fn uploaded(client: &Flink, jar: &Path) -> String {
    static ONE: Mutex<()> = Mutex::const_new(());
    let _one = ONE.lock().await;
    let digest = flink::digest(jar);
    let there = client.jars().await.unwrap().into_iter().find(|jar| jar.digest() == Some(&digest));
    match there {
        Some(there) => there.id,
        None => client.upload(jar, &digest).await.unwrap(),
    }
}

/// A counter of this name that tells its progress in a file, and makes five checkpoints a second.
fn counter(cluster: &FlinkCluster, name: &str) -> (RunRequest, PathBuf) {
    let progress = cluster.dir().join(format!("{name}.progress"));
    let arguments = ["--progress", progress.to_str().unwrap(), "--rate", "200", "--every", "20"];
    let settings = [
        ("pipeline.name", name),
        ("execution.checkpointing.interval", "200 ms"),
        ("execution.checkpointing.externalized-checkpoint-retention", "RETAIN_ON_CANCELLATION"),
    ];
    let run = RunRequest {
        job_id: Some(fresh()),
        program_args_list: arguments.map(str::to_owned).into(),
        flink_configuration: settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..RunRequest::default()
    };
    (run, progress)
}

/// The same job again under a new id, with a state.
fn again(run: &RunRequest, state: &str) -> RunRequest {
    RunRequest { job_id: Some(fresh()), savepoint_path: Some(state.to_owned()), ..run.clone() }
}

async fn line(client: &Flink, job: FlinkId) -> Option<JobLine> {
    client.jobs().await.unwrap().into_iter().find(|line| line.jid == job)
}

/// Waits until a job's line is as it should be.
async fn until_line(client: &Flink, job: FlinkId, what: &str, right: impl Fn(&JobLine) -> bool) {
    wait::until_async(what, async || line(client, job).await.is_some_and(|line| right(&line))).await;
}

async fn until_running(client: &Flink, job: FlinkId) {
    let runs = |line: &JobLine| line.state == JobState::Running && all_tasks_run(line.tasks);
    until_line(client, job, "all tasks run", runs).await;
}

async fn until_state(client: &Flink, job: FlinkId, state: JobState) {
    until_line(client, job, &format!("the job is {state:?}"), |line| line.state == state).await;
}

/// Starts the program of the jobs' jar, and waits until its tasks run.
async fn started(client: &Flink, run: &RunRequest) -> FlinkId {
    let jar = uploaded(client, &flink::jobs_jar()).await;
    let job = client.run(&jar, run).await.unwrap();
    assert_eq!(Some(job), run.job_id);
    until_running(client, job).await;
    job
}

async fn cancelled(client: &Flink, job: FlinkId) {
    client.cancel(job).await.unwrap();
    until_state(client, job, JobState::Canceled).await;
}

/// Waits for more lines of progress than there are now.
async fn until_counting(progress: &Path) {
    let before = flink::progress(progress).len();
    wait::until_true("it counts", || flink::progress(progress).len() > before + 2).await;
}

/// The answer about a trigger once it is at an end.
async fn until_settled(client: &Flink, job: FlinkId, trigger: FlinkId) -> Trigger {
    let poll = async || client.poll(job, trigger).await.unwrap();
    wait::until_async("the trigger is settled", async || poll().await != Trigger::InProgress).await;
    poll().await
}

/// The path of a savepoint on this machine.
fn local(path: &str) -> PathBuf {
    PathBuf::from(path.strip_prefix("file:").expect("a file")).components().collect()
}

/// A directory as Flink writes it.
fn directory(cluster: &FlinkCluster, name: &str) -> String {
    format!("file://{}", cluster.savepoints().join(name).display())
}

fn savepoint_of(trigger: Trigger) -> String {
    let Trigger::Completed(path) = trigger else { panic!("no savepoint: {trigger:?}") };
    assert!(local(&path).join("_metadata").is_file(), "{path}");
    path
}

/// What a deployment of this name sees of the cluster, whose job and operation these are.
async fn seen(client: &Flink, name: &str, job: FlinkId, operation: Option<(Act, FlinkId)>) -> Cluster {
    let version = Version {
        job: None,
        generation: 1,
        digest: flink::digest(&flink::jobs_jar()),
        kind: Kind::Streaming,
        upgrade: Upgrade::Savepoint,
        alone: false,
        allow_non_restored_state: false,
        parallelism: 1,
        shape: None,
    };
    let desired = Desired {
        name: name.to_owned(),
        mode: Mode::Running,
        generation: 1,
        rollback_to: None,
        nonce: 0,
        savepoint_nonce: 0,
        end_run: None,
        waits: false,
        another_begins: false,
        watches_pressure: false,
        given: None,
        savepoint_directory: String::new(),
        versions: vec![version],
        stability: Stability { checkpoints: 1, window: 0, max_restarts: 0, within: 0 },
        retention: Retention { count: 1, age: 0 },
        timing: Timing::default(),
    };
    let run = Run::new(job, 1, 0, Fate::Live);
    let operation = operation.map(|(act, trigger)| Operation {
        act,
        job,
        trigger,
        directory: String::new(),
        since: Timestamp(0),
        sends: 1,
        sent_at: Timestamp(0),
    });
    let row = Row { run: Some(run), operation, ..Row::default() };
    let look = Look::at(client).await.unwrap();
    match look.of(client, &desired, &row, Known::default()).await.observed {
        Observed::Reachable(cluster) => *cluster,
        Observed::Unreachable(why) => panic!("{why}"),
    }
}

fn of(cluster: &Cluster, job: FlinkId) -> &Job {
    cluster.jobs.iter().find(|one| one.id == job).unwrap_or_else(|| panic!("not seen: {cluster:#?}"))
}

#[tokio::test]
async fn an_artifact_is_found_by_its_digest_until_it_is_removed() {
    let cluster = FlinkCluster::shared().await;
    let client = client(cluster);
    let jar = flink::jobs_jar_version("uploaded");
    let digest = flink::digest(&jar);
    let listed = async || client.jars().await.unwrap().into_iter().find(|jar| jar.digest() == Some(&digest));
    assert_eq!(listed().await, None);
    let id = client.upload(&jar, &digest).await.unwrap();
    assert_eq!(listed().await.unwrap().id, id);
    let (run, _) = counter(cluster, "found");
    let job = client.run(&id, &run).await.unwrap();
    until_running(&client, job).await;
    cancelled(&client, job).await;
    client.delete_jar(&id).await.unwrap();
    assert_eq!(listed().await, None);
    assert_eq!(client.run(&id, &RunRequest::default()).await, Err(Error::MissingJar));
}

#[tokio::test]
async fn an_id_is_good_for_one_job() {
    let cluster = FlinkCluster::shared().await;
    let client = client(cluster);
    let jar = uploaded(&client, &flink::jobs_jar()).await;
    let (run, _) = counter(cluster, "once");
    let job = started(&client, &run).await;
    assert_eq!(line(&client, job).await.unwrap().name, "once");
    assert_eq!(client.run(&jar, &run).await, Err(Error::Duplicate));
    cancelled(&client, job).await;
    assert_eq!(client.run(&jar, &run).await, Err(Error::Duplicate), "it has run");

    // While the first main() still thinks nobody knows the id, and a second one may overtake it.
    let mut slow = counter(cluster, "overtaken").0;
    slow.entry_class = Some("libra.jobs.SlowMain".to_owned());
    slow.program_args_list.extend(["--ms", "1500"].map(str::to_owned));
    let (one, other) = tokio::join!(client.run(&jar, &slow), client.run(&jar, &slow));
    let job = slow.job_id.unwrap();
    assert!([&one, &other].contains(&&Ok(job)), "{one:?} {other:?}");
    assert!([&one, &other].contains(&&Err(Error::Duplicate)), "{one:?} {other:?}");
    let same: Vec<_> = client.jobs().await.unwrap();
    assert_eq!(same.iter().filter(|line| line.name == "overtaken").count(), 1);
    until_running(&client, job).await;
    cancelled(&client, job).await;
}

#[tokio::test]
async fn a_look_sees_the_job_its_checkpoints_and_its_namesake() {
    let cluster = FlinkCluster::shared().await;
    let client = client(cluster);
    let (run, progress) = counter(cluster, "looked-at");
    let job = started(&client, &run).await;
    let other = started(&client, &RunRequest { job_id: Some(fresh()), ..run.clone() }).await;
    until_counting(&progress).await;
    let look = async || seen(&client, "looked-at", job, None).await;
    wait::until_async("it has checkpoints", async || of(&look().await, job).checkpoints > 1).await;
    let now = look().await;
    assert!(now.life.is_some());
    // Others may have uploaded it as well; any of them will do.
    let digest = flink::digest(&flink::jobs_jar());
    let [(found, jar)] = now.jars.as_slice() else { panic!("one: {:?}", now.jars) };
    assert_eq!((found, jar.ends_with(&format!("_{digest}.jar"))), (&digest, true), "{jar}");
    assert_eq!(now.jobs.len(), 2, "its own and its namesake: {now:#?}");
    assert_eq!(of(&now, other).name, "looked-at");
    assert_eq!(now.trigger, Trigger::NotAsked);
    let own = of(&now, job);
    assert_eq!((own.state, own.all_tasks_run, own.exceptions), (JobState::Running, true, 0));
    let checkpoint = own.checkpoint.clone().unwrap();
    assert!(local(&checkpoint.path).starts_with(cluster.checkpoints().join(job.to_string())));
    assert_eq!((own.savepoint.clone(), own.failure.clone()), (None, None));
    cancelled(&client, other).await;
    cancelled(&client, job).await;
    let own = of(&look().await, job).clone();
    assert_eq!((own.state, own.all_tasks_run), (JobState::Canceled, false));
    assert!(own.checkpoint.unwrap().number >= checkpoint.number);
}

#[tokio::test]
async fn a_job_is_stopped_and_goes_on_from_its_savepoint() {
    let cluster = FlinkCluster::shared().await;
    let client = client(cluster);
    let (mut run, progress) = counter(cluster, "goes-on");
    for _ in 0..3 {
        let job = started(&client, &run).await;
        until_counting(&progress).await;
        let trigger = fresh();
        assert_eq!(client.poll(job, trigger).await.unwrap(), Trigger::Unknown);
        let to = directory(cluster, "goes-on");
        assert_eq!(client.stop(job, trigger, &to, false).await, Ok(trigger));
        // As after a reply that was lost.
        assert_eq!(client.stop(job, trigger, &to, false).await, Ok(trigger));
        let path = savepoint_of(until_settled(&client, job, trigger).await);
        assert!(local(&path).starts_with(cluster.savepoints().join("goes-on")));
        until_state(&client, job, JobState::Finished).await;
        let now = seen(&client, "goes-on", job, Some((Act::Stop, trigger))).await;
        assert_eq!(now.trigger, Trigger::Completed(path.clone()));
        assert_eq!(of(&now, job).savepoint.as_ref().unwrap().path, path);
        assert_eq!(of(&now, job).checkpoint, None, "it went with the job");
        run = again(&run, &path);
    }
    let job = started(&client, &run).await;
    until_counting(&progress).await;
    cancelled(&client, job).await;
    let lines = flink::assert_nothing_twice(&progress);
    let starts = lines.iter().filter(|line| line.mark == flink::Mark::First).count();
    assert_eq!(starts, 4, "{lines:#?}");
}

#[tokio::test]
async fn a_savepoint_leaves_the_job_alone_and_can_be_removed() {
    let cluster = FlinkCluster::shared().await;
    let client = client(cluster);
    let (run, progress) = counter(cluster, "saved");
    let job = started(&client, &run).await;
    let trigger = fresh();
    let to = directory(cluster, "saved");
    assert_eq!(client.savepoint(job, trigger, &to).await, Ok(trigger));
    assert_eq!(client.savepoint(job, trigger, &to).await, Ok(trigger));
    let path = savepoint_of(until_settled(&client, job, trigger).await);
    assert_eq!(std::fs::read_dir(local(&to)).unwrap().count(), 1, "asked twice, made once");
    let own = of(&seen(&client, "saved", job, None).await, job).clone();
    assert_eq!((own.state, own.savepoint.unwrap().path), (JobState::Running, path.clone()));

    // Flink calls it COMPLETED all the same, and takes it of a job that it never had.
    let nowhere = fresh();
    assert_eq!(client.savepoint(job, nowhere, "file:///proc/nowhere").await, Ok(nowhere));
    let why = until_settled(&client, job, nowhere).await;
    assert!(
        matches!(&why, Trigger::Failed(words) if words.contains("Failed to create savepoint directory")),
        "{why:?}"
    );
    let (stranger, asked) = (fresh(), fresh());
    assert_eq!(client.savepoint(stranger, asked, &to).await, Ok(asked));
    let why = until_settled(&client, stranger, asked).await;
    assert!(matches!(&why, Trigger::Failed(words) if words.contains("Could not find Flink job")), "{why:?}");
    until_counting(&progress).await;
    cancelled(&client, job).await;

    let removal = client.dispose(&path).await.unwrap();
    let poll = async || client.poll_disposal(removal).await.unwrap();
    wait::until_async("it is removed", async || poll().await != Trigger::InProgress).await;
    assert_eq!(poll().await, Trigger::Completed(String::new()));
    assert!(!local(&path).exists());
    let removal = client.dispose(&path).await.unwrap();
    let poll = async || client.poll_disposal(removal).await.unwrap();
    wait::until_async("that is told", async || poll().await != Trigger::InProgress).await;
    assert_eq!(poll().await, Trigger::Completed(String::new()), "it is gone, as was wanted");
    assert_eq!(client.poll_disposal(fresh()).await.unwrap(), Trigger::Unknown);
}

#[tokio::test]
async fn whatever_has_ended_can_be_cancelled() {
    let cluster = FlinkCluster::shared().await;
    let client = client(cluster);
    let (run, progress) = counter(cluster, "ends");
    let job = started(&client, &run).await;
    until_counting(&progress).await;
    cancelled(&client, job).await;
    assert_eq!(client.cancel(job).await, Ok(()));
    let mut fails = RunRequest { job_id: Some(fresh()), ..run.clone() };
    fails.program_args_list.extend(["--fail-after", "10"].map(str::to_owned));
    fails.flink_configuration.insert("restart-strategy.type".to_owned(), "none".to_owned());
    let jar = uploaded(&client, &flink::jobs_jar()).await;
    let job = client.run(&jar, &fails).await.unwrap();
    until_state(&client, job, JobState::Failed).await;
    assert_eq!(client.cancel(job).await, Ok(()));
    let own = of(&seen(&client, "ends", job, None).await, job).clone();
    let failure = own.failure.unwrap();
    assert!(failure.contains("it fails after 10 records, on purpose"), "{failure}");
    let batch = RunRequest {
        job_id: Some(fresh()),
        entry_class: Some("libra.jobs.Batch".to_owned()),
        ..RunRequest::default()
    };
    let job = client.run(&jar, &batch).await.unwrap();
    until_state(&client, job, JobState::Finished).await;
    assert_eq!(client.cancel(job).await, Ok(()));
    assert_eq!(client.cancel(fresh()).await, Err(Error::UnknownJob));
    assert_eq!(client.status(fresh()).await, Err(Error::UnknownJob));
    assert_eq!(client.status(job).await, Ok(JobState::Finished));
}
