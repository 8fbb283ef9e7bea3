//! Jars and Scala, what goes along with a job, and a cluster to run them on.

use std::path::{Path, PathBuf};
use std::process::Command;

use libra_engines::spark_home::SparkHome;
use libra_testkit::{Api, Standalone, page, processes, wait, write};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::artifacts::upload;
use crate::surroundings::{quoted, setup, shared, turn};

const APP: &str = r#"
import org.apache.spark.sql.SparkSession;
public class App {
  public static void main(String[] args) throws Exception {
    if (args[0].equals("throw")) throw new IllegalStateException("the till is empty");
    if (args[0].equals("exit")) System.exit(7);
    SparkSession spark = SparkSession.builder().getOrCreate();
    long sum = spark.range(100).repartition(2).selectExpr("sum(id)").first().getLong(0);
    System.out.println(Lib.words() + " " + sum + " for " + args[0]);
    if (args[0].startsWith("/")) {
      new java.io.File(args[0]).createNewFile();
      Thread.sleep(1000000);
    }
    spark.stop();
  }
}
"#;
const LIB: &str = r#"public class Lib { public static String words() { return "the sum is"; } }"#;

fn spark() -> SparkHome {
    SparkHome::find(None).unwrap()
}

/// Two jars that belong together, built once: the application, and the library that it calls.
async fn jars() -> &'static (PathBuf, PathBuf) {
    static JARS: OnceCell<(PathBuf, PathBuf)> = OnceCell::const_new();
    JARS.get_or_init(|| async {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("jars");
        std::fs::create_dir_all(&dir).unwrap();
        let sources = [write(&dir.join("App.java"), APP), write(&dir.join("Lib.java"), LIB)];
        let path = format!("{}/jars/*", spark().home.display());
        let run = |program: &str, arguments: &[&str]| {
            let done = Command::new(program).args(arguments).current_dir(&dir).output();
            let done = done.unwrap_or_else(|e| {
                panic!("this test needs a JDK ({program}: {e}); `scripts/setup.sh test` installs one")
            });
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        };
        run("javac", &["-cp", &path, "-d", ".", &sources[0], &sources[1]]);
        run("jar", &["cf", "app.jar", "App.class"]);
        run("jar", &["cf", "lib.jar", "Lib.class"]);
        (dir.join("app.jar"), dir.join("lib.jar"))
    })
    .await
}

async fn uploaded(api: &Api, path: &Path) -> String {
    let name = path.file_name().unwrap().to_str().unwrap();
    format!("{}#{name}", upload(api, &std::fs::read(path).unwrap()).await)
}

/// The jar, with its library.
pub async fn jar(api: &Api, argument: &str) -> Value {
    let (app, lib) = jars().await;
    json!({"file": uploaded(api, app).await, "className": "App", "args": [argument], "jars": [uploaded(api, lib).await]})
}

const SCALA: &str = "case class Sale(shop: String, amount: Long)\n\
    val factor = 2\n\
    val sales = Seq(Sale(\"a\", 1), Sale(\"b\", 2), Sale(\"a\", 3)).toDS()\n\
    println(s\"there are ${sales.count()} sales\")\n\
    libra.result(sales.map(s => s.copy(amount = s.amount * factor)).groupBy($\"shop\").agg(sum($\"amount\").as(\"total\")).orderBy($\"shop\"))\n";

pub fn scala(code: &str) -> Value {
    json!({"code": code, "kind": "scala"})
}

fn succeeded(job: &Value) {
    assert_eq!((&job["status"], &job["exitCode"]), (&json!("SUCCEEDED"), &json!(0)), "{job:#}");
    assert_eq!(job["executionMode"], "spark-submit", "{job:#}");
}

fn totals() -> Value {
    json!([{"shop": "a", "total": 8}, {"shop": "b", "total": 4}])
}

async fn fails(body: &Value, code: &str, exit: i64, message: &str) -> Value {
    let job = shared().await.api().run(body).await;
    assert_eq!(job["status"], "FAILED", "{job:#}");
    assert_eq!((&job["error"]["class"], &job["error"]["code"]), (&json!("user"), &json!(code)), "{job:#}");
    assert_eq!(job["exitCode"], exit, "{job:#}");
    assert!(job["error"]["message"].as_str().unwrap().contains(message), "{message}: {job:#}");
    job
}

#[tokio::test]
async fn a_jar_runs_with_its_library_and_its_arguments() {
    // contract: A1, S2
    let _turn = turn().await;
    let api = shared().await.api();
    let job = api.run(&jar(&api, "ada").await).await;
    succeeded(&job);
    let log = api.log(job["jobId"].as_str().unwrap(), "stdout").await;
    assert!(log.contains("the sum is 4950 for ada"), "{log}");
}

#[tokio::test]
async fn a_jar_that_fails_says_how() {
    // contract: L4, L7
    let _turn = turn().await;
    let api = shared().await.api();
    fails(&jar(&api, "throw").await, "exception", 1, "IllegalStateException: the till is empty").await;
    fails(&jar(&api, "exit").await, "exit_code", 7, "exit code 7").await;
    let mut missing = jar(&api, "x").await;
    missing["className"] = json!("com.example.Nope");
    fails(&missing, "class_missing", 101, "com.example.Nope").await;
}

#[tokio::test]
async fn scala_leaves_its_log_and_its_rows() {
    // contract: A1, A2, S2
    let _turn = turn().await;
    let api = shared().await.api();
    let job = api.run(&scala(SCALA)).await;
    succeeded(&job);
    assert_eq!(job["result"]["rows"], totals(), "{job:#}");
    let log = api.log(job["jobId"].as_str().unwrap(), "stdout").await;
    assert!(log.contains("there are 3 sales"), "{log}");
}

#[tokio::test]
async fn a_scala_file_gets_its_arguments_and_its_last_expression_is_the_result() {
    // contract: A1, A2
    let _turn = turn().await;
    let api = shared().await.api();
    let program = "import org.apache.spark.sql.Row\nval words = args.mkString(\" \")\nspark.range(2).select($\"id\", lit(words).as(\"words\"))\n";
    let file = format!("{}#report.scala", upload(&api, program.as_bytes()).await);
    let job = api.run(&json!({"file": file, "args": ["--day", "a \"ü\""]})).await;
    succeeded(&job);
    let words = "--day a \"ü\"";
    assert_eq!(
        job["result"]["rows"],
        json!([{"id": 0, "words": words}, {"id": 1, "words": words}]),
        "{job:#}"
    );
}

#[tokio::test]
async fn scala_that_fails_says_how() {
    // contract: L4, L7
    let _turn = turn().await;
    let thrown = scala("val till = 0\n\nval share = 10 / till\n");
    let job = fails(&thrown, "exception", 1, "ArithmeticException: / by zero").await;
    let log = shared().await.api().log(job["jobId"].as_str().unwrap(), "stdout").await;
    assert!(log.contains("main.scala:3"), "the line is named: {log}");
    fails(&scala("println(1)\nSystem.exit(7)"), "exit_code", 7, "exit code 7").await;
    let job = fails(
        &scala("println(\"begun\")\nval x: Int = \"no\"\n"),
        "compile_error",
        1,
        "line 2: type mismatch",
    )
    .await;
    let log = shared().await.api().log(job["jobId"].as_str().unwrap(), "stdout").await;
    assert!(!log.contains("begun\n"), "nothing ran of what does not compile: {log}");
}

#[tokio::test]
async fn an_application_in_a_scala_file_is_run_and_not_only_defined() {
    // contract: L4, A1
    let _turn = turn().await;
    let api = shared().await.api();
    let program = "import org.apache.spark.sql.SparkSession\n\n\
        object Etl {\n  def main(args: Array[String]): Unit = {\n    \
        val spark = SparkSession.builder().getOrCreate()\n    \
        println(s\"${args.head}: ${spark.range(7).count()}\")\n  }\n}\n";
    let file = format!("{}#etl.scala", upload(&api, program.as_bytes()).await);
    let job = api.run(&json!({"file": file, "args": ["counted"]})).await;
    succeeded(&job);
    let log = api.log(job["jobId"].as_str().unwrap(), "stdout").await;
    assert!(log.contains("counted: 7"), "{log}");
    let idle = scala("case class Sale(shop: String)\ndef total(a: Int) = a + 1\n");
    fails(&idle, "compile_error", 1, "runs none of them").await;
}

/// A main of the program's own tells Libra nothing; Spark's log does.
async fn follows_a_driver_by_its_log(api: &Api, id: &str, application: &str) {
    let known = || async {
        let job = api.job(id).await;
        job["links"]["sparkUi"].is_string() && job["progress"]["tasksTotal"].as_u64() > Some(0)
    };
    wait::until_async("the driver's progress is known", known).await;
    let job = api.job(id).await;
    assert!(job["applicationId"].as_str().unwrap().starts_with(application), "{job:#}");
    let (status, _) = page(job["links"]["sparkUi"].as_str().unwrap()).await.unwrap();
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_jar_and_scala_that_are_cancelled_leave_nothing_alive() {
    // contract: L6, S2
    let _turn = turn().await;
    let libra = shared().await;
    let api = libra.api();
    let markers = ["jar-runs", "scala-runs"].map(|name| libra.scratch(name));
    let code = format!("new java.io.File({}).createNewFile()\nThread.sleep(1000000)", quoted(&markers[1]));
    let bodies = [jar(&api, markers[0].to_str().unwrap()).await, scala(&code)];
    for (body, marker) in bodies.iter().zip(&markers) {
        let id = api.submit(body).await;
        wait::until_true("the program runs", || marker.exists()).await;
        let job = api.reaches(&id, "RUNNING").await;
        let token = job["attempts"][0]["token"].as_str().unwrap().to_owned();
        assert!(!processes::of_attempt(&token).is_empty());
        if body["className"] == "App" {
            follows_a_driver_by_its_log(&api, &id, "local-").await;
        }
        while api.delete(&format!("/api/v1/jobs/{id}")).await.status == 202 {}
        assert_eq!(processes::of_attempt(&token), Vec::<i32>::new());
        assert_eq!(api.job(&id).await["status"], "CANCELLED");
    }
}

const PYTHON: &str = "import sys, lib\n\
    def first(path):\n    return open(path).read().strip()\n\
    from pyspark.sql import SparkSession\n\
    spark = SparkSession.builder.getOrCreate()\n\
    def work(n):\n    import lib, os\n    from pyspark import SparkFiles\n\
    \x20   place = next(p for p in ('env/word.txt', os.path.join(SparkFiles.getRootDirectory(), 'env/word.txt')) if os.path.exists(p))\n\
    \x20   return lib.twice(n), open(place).read().strip()\n\
    print('got', spark.sparkContext.parallelize([1, 2], 1).map(work).collect(), sys.argv[1:])\n\
    if len(sys.argv) > 2:\n    open(sys.argv[2], 'w').close()\n    import time; time.sleep(1000)\n";

/// A program, a module and an archive of the test's own, as local files.
pub fn python_files(dir: &Path) -> [String; 3] {
    std::fs::create_dir_all(dir).unwrap();
    let program = write(&dir.join("report.py"), PYTHON);
    let module = write(&dir.join("lib.py"), "def twice(n):\n    return 2 * n\n");
    write(&dir.join("word.txt"), "packed\n");
    let archive = dir.join("env.tar.gz");
    let packed =
        Command::new("tar").args(["czf", "env.tar.gz", "word.txt"]).current_dir(dir).status().unwrap();
    assert!(packed.success());
    [program, module, archive.display().to_string()]
}

#[tokio::test]
async fn the_command_line_sends_what_is_local() {
    // contract: A1, P2
    let _turn = turn().await;
    let libra = shared().await;
    let [program, module, archive] = python_files(&libra.scratch("sent"));
    let archive = format!("{archive}#env");
    let words = [
        "submit",
        &program,
        "--py-files",
        &module,
        "--archives",
        &archive,
        "--url",
        libra.url(),
        "--wait",
        "--output",
        "json",
        "--",
        "today",
    ];
    let setup = setup();
    let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
    let done = tokio::task::spawn_blocking(move || {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        setup.run(&words)
    })
    .await
    .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
    let job: Value = serde_json::from_slice(&done.stdout).unwrap();
    let log = libra.api().log(job["jobId"].as_str().unwrap(), "stdout").await;
    assert!(log.contains("got [(2, 'packed'), (4, 'packed')] ['today']"), "{log}");
}

/// The job, to be run with one executor there.
pub fn on_cluster(cluster: &Standalone, mut body: Value) -> Value {
    body["sparkConfig"] = json!({
        "spark.master": cluster.master(), "spark.cores.max": "1", "spark.executor.cores": "1",
        "spark.executor.instances": "1", "spark.executor.memory": "512m",
        "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
    });
    body["env"] = json!({"SPARK_LOCAL_IP": "127.0.0.1"});
    body
}

#[tokio::test]
async fn every_kind_runs_on_a_standalone_master_and_leaves_nothing_there_when_cancelled() {
    // contract: S2, S4, L6
    let _turn = turn().await;
    let cluster = Standalone::start(&spark().home).await;
    let libra = shared().await;
    let api = libra.api();
    let on_cluster = |body| on_cluster(&cluster, body);
    let [program, module, archive] = python_files(&libra.scratch("on-cluster"));
    let python = |args: Value, references: [String; 3]| {
        let [file, module, archive] = references;
        json!({"file": file, "pyFiles": [module], "archives": [format!("{archive}#env")], "args": args})
    };
    let mut references = Vec::new();
    for path in [&program, &module, &archive] {
        references.push(uploaded(&api, Path::new(path)).await);
    }
    let references: [String; 3] = references.try_into().unwrap();

    let job = api.run(&on_cluster(jar(&api, "ada").await)).await;
    succeeded(&job);
    assert!(job["applicationId"].as_str().unwrap().starts_with("app-"), "{job:#}");
    let job = api.run(&on_cluster(scala(SCALA))).await;
    succeeded(&job);
    assert_eq!(job["result"]["rows"], totals(), "{job:#}");
    let job = api.run(&on_cluster(python(json!(["x"]), references.clone()))).await;
    succeeded(&job);
    let log = api.log(job["jobId"].as_str().unwrap(), "stdout").await;
    assert!(log.contains("got [(2, 'packed'), (4, 'packed')] ['x']"), "{log}");

    let marker = libra.scratch("cluster-runs");
    let id = api.submit(&on_cluster(python(json!(["x", marker]), references))).await;
    wait::until_true("the program runs", || marker.exists()).await;
    let token = api.reaches(&id, "RUNNING").await["attempts"][0]["token"].as_str().unwrap().to_owned();
    assert_eq!(cluster.executors().len(), 1);
    follows_a_driver_by_its_log(&api, &id, "app-").await;
    while api.delete(&format!("/api/v1/jobs/{id}")).await.status == 202 {}
    assert_eq!(processes::of_attempt(&token), Vec::<i32>::new());
    wait::until_true("the cluster's executor ends with its driver", || cluster.executors().is_empty()).await;
}
