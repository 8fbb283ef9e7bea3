use std::path::PathBuf;

use libra_core::attempt::Outcome;
use libra_core::failure::ErrorClass;
use libra_core::id::JobId;
use libra_core::time::Timestamp;

use super::super::address::Address;
use super::super::record::Sent;
use super::*;

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("libra-connect-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("attempt")).unwrap();
        Self(path)
    }

    /// An engine without any Spark to start.
    fn engine(&self) -> SparkConnect {
        let nowhere = self.0.join("no-spark");
        SparkConnect::new(Settings::new("/bin/false", Some(nowhere), self.0.join("connect")))
    }

    fn launch(&self, sql: &str) -> Launch {
        Launch {
            job_id: JobId::new(Timestamp(1), [1; 10]),
            attempt: 1,
            token: Token::new(Timestamp(1), [2; 10]),
            spec: JobSpec::new(Kind::Sql, Source::Code(sql.to_owned())),
            user: "ann".to_owned(),
            tenant: "t".to_owned(),
            dir: self.0.join("attempt"),
            same_boot: true,
            until: None,
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn handle() -> Handle {
    Handle(json!({}))
}

async fn look(engine: &SparkConnect, launch: &Launch) -> Observation {
    let attempts = [(launch.clone(), handle())];
    for _ in 0..200 {
        let seen = engine.observe(&attempts).await.remove(0);
        if !matches!(seen, Observation::Running(_) | Observation::Starting) {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the attempt does not end");
}

#[tokio::test]
async fn without_spark_nothing_is_launched() {
    let scratch = Scratch::new("missing");
    let refused = scratch.engine().launch(&scratch.launch("SELECT 1")).await;
    assert!(matches!(refused, Err(LaunchError::Refused(f)) if f.code == "spark_missing"));
}

#[tokio::test]
async fn what_was_not_found_is_never_sent() {
    // contract: L3
    let scratch = Scratch::new("revoked");
    let (engine, launch) = (scratch.engine(), scratch.launch("SELECT 1"));
    assert!(engine.find(&launch).await.unwrap().is_none());
    assert!(matches!(engine.launch(&launch).await, Err(LaunchError::Unknown(_))));
    assert!(matches!(look(&engine, &launch).await, Observation::NeverRan(_)));
    let gone = engine.cancel(&launch, &handle()).await.unwrap();
    assert!(matches!(gone, CancelOutcome::Gone(Exit { outcome: Outcome::Stopped, .. })));
}

#[tokio::test]
async fn a_query_of_a_dead_server_is_lost() {
    // contract: L7
    for (sql, unknown) in [("SELECT 1", false), ("INSERT INTO t VALUES (1)", true)] {
        let scratch = Scratch::new(if unknown { "lost-insert" } else { "lost-select" });
        let launch = scratch.launch(sql);
        let sent = Sent { server: Token::new(Timestamp(1), [3; 10]), since: Timestamp(5), session: None };
        assert!(record::claim(&AttemptDir::new(&launch.dir), sent).unwrap());
        let engine = scratch.engine();
        assert!(engine.find(&launch).await.unwrap().is_some());
        let Observation::Ended(exit) = look(&engine, &launch).await else { panic!("it is over") };
        let Outcome::Failed { failure } = &exit.outcome else { panic!("it failed") };
        assert_eq!((failure.class, failure.code.as_str()), (ErrorClass::Infrastructure, "engine_lost"));
        assert_eq!(failure.outcome_unknown, unknown, "{sql}");

        // The next Libra says the same.
        let Observation::Ended(again) = look(&scratch.engine(), &launch).await else { panic!("it is over") };
        assert_eq!(again, exit);
    }
}

#[tokio::test]
async fn a_statement_under_way_when_the_machine_went_down_is_in_doubt() {
    let scratch = Scratch::new("rebooted");
    let launch = Launch { same_boot: false, ..scratch.launch("CREATE TABLE t (a INT)") };
    let Observation::Ended(exit) = look(&scratch.engine(), &launch).await else { panic!("it is over") };
    assert!(matches!(exit.outcome, Outcome::Failed { failure } if failure.outcome_unknown));
}

#[tokio::test]
async fn only_the_text_of_sql_and_python_is_accepted() {
    let engine = Scratch::new("validate").engine();
    assert!(engine.validate(&JobSpec::new(Kind::Sql, Source::Code("SELECT 1".to_owned()))).is_empty());
    let pointers = |spec: JobSpec| engine.validate(&spec).into_iter().map(|v| v.0).collect::<Vec<_>>();
    let python = || JobSpec::new(Kind::Python, Source::Code("1".to_owned()));
    assert!(engine.validate(&python()).is_empty());
    assert_eq!(pointers(JobSpec::new(Kind::Scala, Source::Code("1".to_owned()))), ["/kind"]);
    assert_eq!(pointers(JobSpec::new(Kind::Python, Source::File("/a.py".to_owned()))), ["/file"]);
    assert_eq!(pointers(JobSpec::new(Kind::Sql, Source::File("a.sql".to_owned()))), ["/file"]);
    assert_eq!(pointers(JobSpec::new(Kind::Sql, Source::Code(" ".to_owned()))), ["/code"]);
}

#[test]
fn a_program_is_not_shown_the_token_of_a_server_that_is_not_libras() {
    let backend = |url: &str| Backend::External {
        address: Box::new(Address::parse(url, None).unwrap()),
        ca_file: None,
        lost_after: Duration::from_mins(1),
    };
    assert!(backend("sc://spark.example.com").takes_programs());
    assert!(!backend("sc://spark.example.com/;token=x").takes_programs());
    assert!(!backend("sc://spark.example.com/;x-api-key=x").takes_programs(), "a header may be a secret");
}

#[test]
fn sessions_are_a_jobs_own_or_a_users() {
    // contract: S1
    let scratch = Scratch::new("sessions");
    let isolated = scratch.launch("SELECT 1");
    assert_eq!(Query::new(&isolated).operation.session, isolated.token.uuid());
    let mut shared = isolated.clone();
    shared.spec.session_mode = libra_core::spec::SessionMode::Shared;
    let session = |launch: &Launch| Query::new(launch).operation.session;
    let other_job = Launch { token: Token::new(Timestamp(2), [9; 10]), ..shared.clone() };
    let other_user = Launch { user: "bob".to_owned(), ..shared.clone() };
    let other_tenant = Launch { tenant: "u".to_owned(), ..shared.clone() };
    assert_eq!(session(&shared), session(&other_job));
    assert_ne!(session(&shared), session(&other_user));
    assert_ne!(session(&shared), session(&other_tenant));
}
