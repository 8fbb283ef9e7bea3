//! Commands and environments, looked at without starting anything.

use std::path::PathBuf;
use std::time::Duration;

use libra_core::id::{JobId, Token};
use libra_core::time::Timestamp;

use super::super::History;
use super::*;

struct Case {
    launch: Launch,
    settings: Settings,
}

impl Case {
    fn new(kind: Kind, source: Source) -> Self {
        let token = Token::new(Timestamp(1), [7; 10]);
        let dir = std::env::temp_dir().join(format!("libra-command-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&dir).unwrap();
        let launch = Launch {
            job_id: JobId::new(Timestamp(1), [7; 10]),
            attempt: 2,
            token,
            spec: JobSpec::new(kind, source),
            user: "ada".to_owned(),
            tenant: "default".to_owned(),
            dir,
            same_boot: true,
            until: None,
        };
        let settings = Settings {
            shim_exe: PathBuf::from("/libra"),
            spark_home: None,
            default_master: "local[2]".to_owned(),
            default_conf: BTreeMap::new(),
            stop_grace: Duration::from_secs(3),
            host_lease: None,
            logs: crate::logs::LogLimits::default(),
            history: History::default(),
        };
        Self { launch, settings }
    }

    fn set(&mut self, key: &str, value: &str) {
        self.launch.spec.spark_config.insert(key.to_owned(), value.to_owned());
    }

    fn prepare(&self) -> LaunchFile {
        self.prepare_for("4.3.0")
    }

    fn prepare_for(&self, version: &str) -> LaunchFile {
        let spark = SparkHome {
            home: PathBuf::from("/spark"),
            python: Some(PathBuf::from("/venv/bin/python3")),
            java: None,
            version: version.to_owned(),
        };
        prepare(&self.settings, &spark, &self.launch, &AttemptDir::new(&self.launch.dir)).unwrap()
    }

    /// The value of `key` in the properties file, whose escapes are undone.
    fn conf(&self, key: &str) -> Option<String> {
        self.prepare();
        let file = properties::file(&AttemptDir::new(&self.launch.dir));
        let text = std::fs::read_to_string(file).unwrap();
        let mut values = text.lines().filter_map(|line| {
            let (k, v) = line.split_once('=')?;
            (k == key).then(|| v.replace('\\', ""))
        });
        let value = values.next();
        assert_eq!(values.next(), None, "{key} is given once");
        value
    }

    /// The value of `--conf key=…`.
    fn spoken(argv: &[String], key: &str) -> Option<String> {
        let mut values = argv.windows(2).filter(|pair| pair[0] == "--conf").filter_map(|pair| {
            let (k, v) = pair[1].split_once('=')?;
            (k == key).then(|| v.to_owned())
        });
        let value = values.next();
        assert_eq!(values.next(), None, "{key} is given once");
        value
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.launch.dir);
    }
}

fn code(text: &str) -> Source {
    Source::Code(text.to_owned())
}

#[test]
fn a_file_goes_straight_to_spark_submit_with_its_arguments() {
    let mut case = Case::new(Kind::Python, Source::File("/jobs/a.py".to_owned()));
    case.launch.spec.args = vec!["--day".to_owned(), "today".to_owned()];
    case.launch.spec.name = Some("--nightly".to_owned());
    let argv = case.prepare().argv;
    assert_eq!(
        argv[..7],
        ["/spark/bin/spark-submit", "--master", "local[2]", "--deploy-mode", "client", "--name", "--nightly"]
    );
    assert_eq!(argv[argv.len() - 3..], ["/jobs/a.py", "--day", "today"]);
    assert_eq!(case.conf("spark.app.name").as_deref(), Some("--nightly"));
}

#[test]
fn a_text_is_run_by_our_driver() {
    let case = Case::new(Kind::Sql, code("spark.sql('SELECT 1').show()"));
    let argv = case.prepare().argv;
    let dir = case.launch.dir.display();
    assert_eq!(
        argv[argv.len() - 3..],
        [format!("{dir}/libra_driver.py"), "sql".to_owned(), format!("{dir}/query.sql")]
    );
    assert_eq!(std::fs::read_to_string(case.launch.dir.join("query.sql")).unwrap(), "SELECT 1");
}

#[test]
fn settings_of_the_job_win_over_configured_ones_and_those_over_ours() {
    let mut case = Case::new(Kind::Python, code("1"));
    assert_eq!(case.conf("spark.ui.port").as_deref(), Some("0"));
    case.settings.default_conf.insert("spark.ui.port".to_owned(), "1".to_owned());
    assert_eq!(case.conf("spark.ui.port").as_deref(), Some("1"));
    case.set("spark.ui.port", "2");
    assert_eq!(case.conf("spark.ui.port").as_deref(), Some("2"));
    assert_eq!(case.conf("spark.libra.attempt"), Some(case.launch.token.to_string()));
    assert_eq!(case.conf("spark.app.name"), Some(case.launch.job_id.to_string()));
}

#[test]
fn settings_stay_off_the_command_line_where_spark_can_read_them_from_a_file() {
    let mut case = Case::new(Kind::Python, code("1"));
    case.set("spark.password", "secret");
    case.set("spark.blank", " x");
    let argv = case.prepare().argv;
    assert!(argv.iter().all(|argument| !argument.contains("secret")), "{argv:?}");
    assert!(argv.iter().any(|argument| argument == "--load-spark-defaults"));
    assert_eq!(case.conf("spark.password").as_deref(), Some("secret"));
    assert_eq!(Case::spoken(&argv, "spark.blank").as_deref(), Some(" x"), "the file would lose the blank");
    let old = case.prepare_for("3.5.1").argv;
    assert_eq!(Case::spoken(&old, "spark.password").as_deref(), Some("secret"));
    assert!(!old.iter().any(|argument| argument == "--properties-file"));
}

#[test]
fn memory_that_runs_out_ends_the_driver_beside_the_users_options() {
    let mut case = Case::new(Kind::Python, code("1"));
    assert_eq!(case.conf(DRIVER_OPTIONS).as_deref(), Some(END_ON_OUT_OF_MEMORY));
    case.set(DRIVER_OPTIONS, "-Dx=1");
    assert_eq!(case.conf(DRIVER_OPTIONS), Some(format!("-Dx=1 {END_ON_OUT_OF_MEMORY}")));
}

#[test]
fn only_a_local_driver_stays_on_the_loopback() {
    let mut case = Case::new(Kind::Python, code("1"));
    assert_eq!(case.conf("spark.driver.bindAddress").as_deref(), Some("127.0.0.1"));
    assert!(case.prepare().env.contains_key("SPARK_LOCAL_IP"));
    case.set("spark.master", "spark://h:7077");
    assert_eq!(case.prepare().argv[2], "spark://h:7077");
    assert_eq!((case.conf("spark.master"), case.conf("spark.driver.bindAddress")), (None, None));
    assert!(!case.prepare().env.contains_key("SPARK_LOCAL_IP"));
}

#[test]
fn lists_join_what_the_settings_say() {
    let mut case = Case::new(Kind::Python, code("1"));
    case.set("spark.jars", "/a.jar");
    case.launch.spec.jars = vec!["/b.jar".to_owned(), "/c.jar".to_owned()];
    let argv = case.prepare().argv;
    let at = argv.iter().position(|a| a == "--jars").unwrap();
    assert_eq!(argv[at + 1], "/a.jar,/b.jar,/c.jar");
    assert_eq!(case.conf("spark.jars"), None);
}

#[test]
fn the_driver_gets_what_it_needs_and_nothing_of_libras() {
    let mut case = Case::new(Kind::Python, code("1"));
    case.launch.spec.env.insert("PYSPARK_PYTHON".to_owned(), "/mine".to_owned());
    let file = case.prepare();
    assert_eq!(file.env["PYSPARK_PYTHON"], "/mine");
    assert_eq!(file.env["SPARK_HOME"], "/spark");
    assert_eq!(file.env[TOKEN_VARIABLE], case.launch.token.to_string());
    assert_eq!((file.env["LIBRA_ATTEMPT"].as_str(), file.grace_ms), ("2", 3000));
    let given = ["SPARK_HOME", "SPARK_LOCAL_IP"];
    for name in file.env.keys() {
        let expected = INHERITED.contains(&name.as_str())
            || given.contains(&name.as_str())
            || name.starts_with("LIBRA_");
        assert!(expected, "{name}");
    }
}

#[test]
fn a_file_that_is_not_there_is_found_before_anything_starts() {
    // contract: L4
    let absent = |change: fn(&mut JobSpec)| {
        let mut spec = JobSpec::new(Kind::Python, Source::Code("pass".to_owned()));
        change(&mut spec);
        absent_file(&spec).map(str::to_owned)
    };
    assert_eq!(absent(|_| {}), None);
    assert_eq!(absent(|spec| spec.source = Source::File("/nowhere/a.py".into())).unwrap(), "/nowhere/a.py");
    assert_eq!(absent(|spec| spec.archives = vec!["/nowhere/a.zip#a".into()]).unwrap(), "/nowhere/a.zip");
    assert_eq!(
        absent(|spec| spec.jars = vec!["/etc/hostname".into(), "/nowhere.jar".into()]).unwrap(),
        "/nowhere.jar"
    );
    for found_by_spark in
        ["s3a://bucket/a.jar", "file:/nowhere/a.jar", "/nowhere/*.jar", "/etc/hostname#name"]
    {
        let mut spec = JobSpec::new(Kind::Jar, Source::File("s3a://bucket/a.jar".to_owned()));
        spec.files = vec![found_by_spark.to_owned()];
        assert_eq!(absent_file(&spec), None, "{found_by_spark}");
    }
}

#[test]
fn a_standalone_master_gives_a_job_what_was_kept_for_it() {
    // contract: R1, R2
    let on = |settings: &[(&str, &str)]| {
        let mut case = Case::new(Kind::Python, code("pass"));
        case.set("spark.master", "spark://h:7077");
        for (key, value) in settings {
            case.set(key, value);
        }
        (case.conf("spark.cores.max"), case.conf("spark.executor.cores"))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(on(&[]), (some("2"), some("1")));
    assert_eq!(
        on(&[("spark.executor.instances", "3"), ("spark.executor.cores", "4")]),
        (some("12"), some("4"))
    );
    assert_eq!(on(&[("spark.cores.max", "8")]), (some("8"), None), "its own word stands");
    assert_eq!(
        on(&[("spark.dynamicAllocation.enabled", "true")]),
        (None, some("1")),
        "it is counted as it grows"
    );
    let case = Case::new(Kind::Python, code("pass"));
    assert_eq!(case.conf("spark.cores.max"), None, "a local master has its threads");
}
