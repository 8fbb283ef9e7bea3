//! Python in warm processes that are attached to the shared Spark.

use std::fs;
use std::time::Duration;

use libra_testkit::{Api, Libra, Setup, processes, wait, write};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::surroundings::{quoted, setup, shared, turn};

/// Jobs that go through the pool one after another; the bench takes 100.
const THROUGH_THE_POOL: usize = 20;

fn python(code: &str) -> Value {
    json!({"code": code, "kind": "python", "executionMode": "in-cluster"})
}

/// A function of Spark's that runs in Python for a long time.
const SLOW_UDF: &str = "from pyspark.sql.functions import udf\n\
    @udf('long')\ndef slow(n):\n    import time\n    time.sleep(1000)\n    return n\n";

async fn fails(api: &Api, code: &str, class: &str, words: &str) -> Value {
    let mut body = python(code);
    body["retryPolicy"] = json!({"maxRetries": 0});
    let job = api.run(&body).await;
    assert_eq!((&job["status"], &job["error"]["class"]), (&json!("FAILED"), &json!(class)), "{job:#}");
    assert!(job["error"]["message"].as_str().unwrap().contains(words), "{job:#}");
    job
}

async fn token(api: &Api, id: &str) -> String {
    let job = api.reaches(id, "RUNNING").await;
    job["attempts"][0]["token"].as_str().unwrap().to_owned()
}

/// The Java process of the server.
fn server(libra: &Libra) -> Vec<i32> {
    let below = processes::working_below(&libra.data_dir().join("connect"));
    below.into_iter().filter(|pid| processes::command_line(*pid).contains("SparkConnectServer")).collect()
}

#[tokio::test]
async fn a_program_has_spark_its_log_its_rows_and_its_own_surroundings() {
    // contract: S1, A1, A2
    let _turn = turn().await;
    let api = shared().await.api();
    let code = "import os, sys\nprint('to the log')\nprint('and to the other', file=sys.stderr)\n\
                print(sys.argv[1:], os.environ['CITY'], os.environ.get('LIBRA_AUTH_KEYS'))\n\
                print(os.listdir('.'))\nfrom pyspark.sql import SparkSession\n\
                assert SparkSession.builder.getOrCreate() is spark\n\
                spark.range(3).selectExpr('id', 'id * 1.5D AS half')";
    let mut body = python(code);
    body["env"] = json!({"CITY": "Köln"});
    let job = api.run(&body).await;
    assert_eq!((&job["status"], &job["exitCode"]), (&json!("SUCCEEDED"), &json!(0)), "{job:#}");
    assert_eq!(job["result"]["rows"][2], json!({"id": 2, "half": 3.0}), "{job:#}");
    let used = &job["usage"];
    assert!(used["peakMemoryBytes"].as_u64() > Some(30 << 20) && used["cpuSeconds"].is_number(), "{job:#}");
    let id = job["jobId"].as_str().unwrap();
    assert_eq!(api.log(id, "stdout").await, "to the log\n[] Köln None\n[]\n");
    assert_eq!(api.log(id, "stderr").await, "and to the other\n");

    let auto = api.run(&json!({"code": "print(spark.range(10).count())", "kind": "python"})).await;
    assert_eq!((&auto["status"], &auto["executionMode"]), (&json!("SUCCEEDED"), &json!("in-cluster")));
    assert!(auto["result"].is_null(), "a number is no result: {auto:#}");
}

#[tokio::test]
async fn rows_are_those_of_sql_itself() {
    // contract: A2
    let _turn = turn().await;
    let api = shared().await.api();
    let sql = "SELECT 9007199254740993 AS big, CAST(1.50 AS DECIMAL(10, 2)) AS d, 'ü' AS s, NULL AS nothing, \
               DATE'12026-01-31' AS day, TIMESTAMP'2026-01-31 08:00:00.5Z' AS at, array(1, 2) AS list, \
               map('k', TIMESTAMP'2026-01-31 08:00:00Z') AS map, named_struct('x', 1, 'y', DATE'2026-01-01') AS struct, \
               X'00FF' AS bytes, double('NaN') AS nan, float(0.1) AS small, INTERVAL 1 DAY AS span, \
               TIMESTAMP_NTZ'2026-01-31 08:00:00' AS local, parse_json('{\"a\": [1, 2.50]}') AS variant, \
               1 AS twice, 2 AS twice";
    let expected = api.rows(&json!({"code": sql, "kind": "sql", "executionMode": "in-cluster"})).await;
    let rows = api.rows(&python(&format!("spark.sql({sql:?})"))).await;
    assert_eq!(rows, expected);
    let told = "import pandas\nlibra.result(pandas.DataFrame({'n': [1, 2]}))\nspark.range(9)";
    assert_eq!(api.rows(&python(told)).await, [json!({"n": 1}), json!({"n": 2})], "what was told counts");
    let rows = "from pyspark.sql import Row\n[Row(a=1, b='x'), Row(a=2, b='y')]";
    assert_eq!(api.rows(&python(rows)).await.len(), 2);
}

#[tokio::test]
async fn whatever_goes_wrong_is_told_as_it_is() {
    // contract: L4, L7
    let _turn = turn().await;
    let api = shared().await.api();
    let job = fails(&api, "import sys; sys.exit(7)", "user", "exit code 7").await;
    assert_eq!(job["exitCode"], 7);
    fails(&api, "\nraise ValueError('the till is empty')", "user", "ValueError: the till is empty").await;
    let job = fails(&api, "x = 1\ndef f(:\n", "user", "SyntaxError").await;
    assert!(job["error"]["detail"].as_str().unwrap().contains("line 2"), "{job:#}");
    fails(&api, "x = bytearray(10**15)", "resources", "out of memory").await;
    fails(&api, "spark.sql('SELECT * FROM no_such_table').collect()", "user", "no_such_table").await;
    let udf =
        "from pyspark.sql.functions import udf\nspark.range(1).select(udf(lambda n: 1 // n)('id')).collect()";
    fails(&api, udf, "user", "division").await;
    fails(&api, "spark.sparkContext.parallelize([1])", "user", "spark-submit").await;
    let dies = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)";
    fails(&api, dies, "infrastructure", "SIGKILL").await;
    let mut body = python("pass");
    body["sparkConfig"] = json!({"spark.sql.shuffle.partitions": "many"});
    let job = api.run(&body).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("FAILED"), &json!("bad_setting")), "{job:#}");
    let mut body = python("pass");
    body["env"] = json!({"A-B": "x"});
    let refused = api.post("/api/v1/jobs", &body).await;
    assert!((400..=422).contains(&refused.status), "{}", refused.text);
    assert_eq!(refused.pointers(), ["/env/A-B"], "{}", refused.text);
}

/// A Libra with two users.
fn two_users() -> Setup {
    let hash = |key: &str| {
        Sha256::digest(key).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    };
    let key = |name: &str| {
        let sha256 = hash(name);
        format!("    - {{name: {name}, sha256: {sha256}, role: developer, user: {name}, tenant: t}}\n")
    };
    setup().config(format!("libra:\n  auth:\n    keys:\n{}{}", key("ada"), key("bob")))
}

#[tokio::test]
async fn many_jobs_of_two_users_leave_nothing_behind_and_see_nothing_of_each_other() {
    // contract: S1
    let _turn = turn().await;
    let mut libra = two_users().start().await;
    let apis = [libra.api_as("ada"), libra.api_as("bob")];
    let code = "import os, sys\nmine = [v for v in ('ada', 'bob') if spark.catalog.tableExists(v)]\n\
                assert mine == [], mine\nassert not hasattr(sys, 'left_behind')\nsys.left_behind = True\n\
                who = os.environ['WHO']\nspark.sql('SELECT 1').createOrReplaceTempView(who)\nprint(who)\nspark.range(10).count()";
    let (mut tokens, mut warm) = (Vec::new(), 0);
    for n in 0..THROUGH_THE_POOL {
        let (api, who) = (&apis[n % 2], ["ada", "bob"][n % 2]);
        let mut body = python(code);
        body["env"] = json!({"WHO": who});
        let job = api.run(&body).await;
        assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
        let id = job["jobId"].as_str().unwrap();
        assert_eq!(api.log(id, "stdout").await, format!("{who}\n"));
        // Only a process of the job's own needs the script there.
        warm += usize::from(!libra.attempt_dir(id, 1).join("libra_connect.py").exists());
        tokens.push(job["attempts"][0]["token"].as_str().unwrap().to_owned());
    }
    assert!(warm > THROUGH_THE_POOL / 2, "{warm} went through the pool");
    assert!(tokens.iter().all(|token| processes::of_attempt(token).is_empty()), "nothing of a job is left");

    // A session that is shared is its user's, and is there after the job.
    let shared = |code: &str| {
        let mut body = python(code);
        body["sessionMode"] = json!("SHARED");
        body
    };
    let made = apis[0]
        .run(&shared("spark.sql('SELECT 7 AS n').createOrReplaceTempView('kept')\nspark.stop()"))
        .await;
    assert_eq!(made["status"], "SUCCEEDED", "{made:#}");
    assert_eq!(apis[0].rows(&shared("spark.table('kept')")).await, [json!({"n": 7})]);
    let other = apis[1].run(&shared("spark.table('kept').show()")).await;
    assert_eq!((&other["status"], &other["error"]["class"]), (&json!("FAILED"), &json!("user")), "{other:#}");

    let places = libra.data_dir().join("connect/python");
    let warm = || fs::read_dir(&places).map_or(0, Iterator::count);
    wait::until_true("the pool is full again", || warm() == 2).await;
    libra.stop();
    wait::until_true("no process is left of the pool", || warm() == 0).await;
    assert_eq!(processes::working_below(&libra.data_dir()), Vec::<i32>::new());
}

#[tokio::test]
async fn a_cancelled_program_ends_with_its_work_on_the_server_and_its_neighbour_goes_on() {
    // contract: L6, S1
    let _turn = turn().await;
    let libra = setup().start().await;
    let api = libra.api();
    let go = libra.scratch("go");
    let waits = format!("import os, time\nwhile not os.path.exists({}): time.sleep(0.1)\n", quoted(&go));
    let neighbour = api.submit(&python(&format!("{waits}print(spark.range(7).count())"))).await;
    let (begun, ended) = (libra.scratch("begun"), libra.scratch("ended"));
    let code = format!(
        "{SLOW_UDF}import subprocess\nsubprocess.Popen(['setsid', 'sleep', '1000'])\nopen({}, 'w').close()\n\
         try:\n    spark.range(4).select(slow('id')).collect()\nfinally:\n    open({}, 'w').close()\n",
        quoted(&begun),
        quoted(&ended)
    );
    let id = api.submit(&python(&code)).await;
    let token = token(&api, &id).await;
    wait::until_true("the program works", || begun.exists()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = std::time::Instant::now();
    while api.delete(&format!("/api/v1/jobs/{id}")).await.status == 202 {}
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    assert_eq!(api.job(&id).await["status"], "CANCELLED");
    assert!(ended.exists(), "the program was asked before it was killed");
    assert_eq!(processes::of_attempt(&token), Vec::<i32>::new(), "its children are gone too");

    let deaf = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\n\
                while True: time.sleep(1)";
    let id = api.submit(&python(deaf)).await;
    let token = self::token(&api, &id).await;
    wait::until_async("it is deaf", async || api.log(&id, "stdout").await == "deaf\n").await;
    while api.delete(&format!("/api/v1/jobs/{id}")).await.status == 202 {}
    assert_eq!(api.job(&id).await["status"], "CANCELLED");
    assert_eq!(processes::of_attempt(&token), Vec::<i32>::new(), "it was killed");
    write(&go, "");
    let job = api.ended(&neighbour).await;
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
    assert_eq!(api.log(&neighbour, "stdout").await, "7\n");
}

#[tokio::test]
async fn a_program_outlives_libra_and_tells_the_truth_when_sparks_server_dies() {
    // contract: S1, L3, L7
    let _turn = turn().await;
    let mut libra = setup().start().await;
    // Warm: the first job of a pool starts a process of its own.
    assert_eq!(libra.api().run(&python("pass")).await["status"], "SUCCEEDED");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (marker, go) = (libra.scratch("marker"), libra.scratch("go"));
    let code = format!(
        "import os, time\nopen({marker}, 'a').write('begin\\n')\nprint('first line')\n\
         while not os.path.exists({go}): time.sleep(0.1)\nprint(spark.range(5).count())\n\
         open({marker}, 'a').write('end\\n')\nspark.range(2)",
        marker = quoted(&marker),
        go = quoted(&go)
    );
    let id = libra.api().submit(&python(&code)).await;
    let token = token(&libra.api(), &id).await;
    let before = processes::of_attempt(&token);
    assert_eq!(before.len(), 1, "it carries its attempt's token: {before:?}");
    wait::until_true("it has begun", || marker.exists()).await;
    libra.kill();
    libra.start(&setup()).await;
    let api = libra.api();
    api.reaches(&id, "RUNNING").await;
    assert_eq!(processes::of_attempt(&token), before, "the same process");
    write(&go, "");
    let job = api.ended(&id).await;
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
    assert_eq!(job["result"]["rows"], json!([{"id": 0}, {"id": 1}]));
    assert_eq!(api.log(&id, "stdout").await, "first line\n5\n", "the whole log");
    assert_eq!(fs::read_to_string(&marker).unwrap(), "begin\nend\n", "exactly one run");

    let mut once = python(&format!("{SLOW_UDF}spark.range(1).select(slow('id')).collect()"));
    once["retryPolicy"] = json!({"maxRetries": 0});
    let id = api.submit(&once).await;
    let token = self::token(&api, &id).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    server(&libra).into_iter().for_each(processes::kill);
    let job = api.ended(&id).await;
    assert_eq!(job["error"]["code"], "engine_lost", "{job:#}");
    assert_eq!((&job["status"], &job["error"]["class"]), (&json!("FAILED"), &json!("infrastructure")));
    assert_eq!(job["error"]["outcome"], "unknown", "{job:#}");
    assert_eq!(processes::of_attempt(&token), Vec::<i32>::new());

    // The watcher of a program is killed, and so is what it watched.
    let id = api
        .submit(&{
            let mut body = python("import time\ntime.sleep(1000)");
            body["retryPolicy"] = json!({"maxRetries": 0});
            body
        })
        .await;
    let token = self::token(&api, &id).await;
    let owner: Value =
        serde_json::from_slice(&fs::read(libra.attempt_dir(&id, 1).join("owner")).unwrap()).unwrap();
    processes::kill(i32::try_from(owner["pid"].as_i64().unwrap()).unwrap());
    let job = api.ended(&id).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("FAILED"), &json!("driver_lost")), "{job:#}");
    assert_eq!(processes::of_attempt(&token), Vec::<i32>::new());
}

#[tokio::test]
async fn libra_dies_after_it_launched_a_program_and_it_runs_once() {
    // contract: S1, L3, L7
    runs_once_though_libra_dies(&["after-launch"]).await;
}

#[tokio::test]
#[ignore = "a drill: make drills"]
async fn drill_libra_dies_between_any_two_steps_and_a_program_still_runs_once() {
    // contract: S1, L3, L7
    let points =
        ["after-intent", "after-spawn", "after-owner", "after-launch", "after-handle", "before-result"];
    runs_once_though_libra_dies(&points).await;
}

async fn runs_once_though_libra_dies(points: &[&str]) {
    let _turn = turn().await;
    let mut libra = setup().start().await;
    assert_eq!(libra.api().run(&python("pass")).await["status"], "SUCCEEDED");
    for &point in points {
        let marker = libra.scratch(point);
        let mut body = python(&format!("open({}, 'a').write('ran\\n')", quoted(&marker)));
        body["name"] = json!(point);
        libra.kill();
        libra.start(&setup().env("LIBRA_FAILPOINT", point)).await;
        if point == "after-spawn" || point == "after-owner" {
            // The others start a process of their own: the pool is not full yet.
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
        let _ = libra.api().try_post("/api/v1/jobs", &body).await;
        let status = libra.end().await;
        assert!(!status.success(), "{point}: {status}");
        libra.start(&setup()).await;
        let api = libra.api();
        let list = api.get(&format!("/api/v1/jobs?name={point}")).await.expect(200);
        let job = api.ended(list["jobs"][0]["jobId"].as_str().unwrap()).await;
        assert_eq!(job["status"], "SUCCEEDED", "{point}: {job:#}");
        assert_eq!(fs::read_to_string(&marker).unwrap(), "ran\n", "{point}: exactly one run: {job:#}");
    }
}

#[tokio::test]
#[ignore = "a drill: make drills"]
async fn drill_a_watcher_dies_between_any_two_steps_and_a_program_runs_once_at_most() {
    // contract: S1, L3, L7
    let _turn = turn().await;
    let mut libra = setup().start().await;
    assert_eq!(libra.api().run(&python("pass")).await["status"], "SUCCEEDED");
    // How often the program has run, at least and at most.
    let points = [("shim-after-owner", 0, 0), ("shim-after-spawn", 0, 1), ("shim-before-exit-file", 1, 1)];
    for (point, least, most) in points {
        libra.kill();
        libra.start(&setup().env("LIBRA_FAILPOINT", point)).await;
        // Until the pool is warm again; without it the story is that of a process of its own.
        tokio::time::sleep(Duration::from_secs(4)).await;
        let marker = libra.scratch(point);
        let mut body = python(&format!("open({}, 'a').write('ran\\n')", quoted(&marker)));
        body["retryPolicy"] = json!({"maxRetries": 0});
        let job = libra.api().run(&body).await;
        assert_eq!(
            (&job["status"], &job["error"]["code"]),
            (&json!("FAILED"), &json!("driver_lost")),
            "{point}: {job:#}"
        );
        let token = job["attempts"][0]["token"].as_str().unwrap();
        assert_eq!(processes::of_attempt(token), Vec::<i32>::new(), "{point}");
        let runs = fs::read_to_string(&marker).unwrap_or_default().lines().count();
        assert!((least..=most).contains(&runs), "{point}: {runs}");
    }
    // It dies before it owns the attempt: another takes its place, and dies as well, until Libra starts sane ones.
    libra.kill();
    libra.start(&setup().env("LIBRA_FAILPOINT", "shim-before-owner")).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let marker = libra.scratch("before-owner");
    let id = libra.api().submit(&python(&format!("open({}, 'a').write('ran\\n')", quoted(&marker)))).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    libra.kill();
    libra.start(&setup()).await;
    let job = libra.api().ended(&id).await;
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
    assert_eq!(fs::read_to_string(&marker).unwrap(), "ran\n", "{job:#}");
}
