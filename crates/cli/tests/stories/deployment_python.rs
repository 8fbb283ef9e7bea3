//! Python from a specification, on a real Flink: a job with state, an archive of modules, and programs that fail.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use libra_testkit::{FlinkCluster, Setup, flink};
use serde_json::{Value, json};

use crate::deployments::{alive, apply, away, stable, until, with_flink};

/// Counts numbers by whether they are odd. Each number's count follows from it: a state that is lost is seen.
const COUNT: &str = r#"
import sys
from pyflink.common import Types
from pyflink.datastream import KeyedProcessFunction, StreamExecutionEnvironment
from pyflink.datastream.state import ValueStateDescriptor
from pyflink.table import StreamTableEnvironment

if len(sys.argv) != 3:
    raise ValueError(f"no rate is named: {sys.argv[1:]}")
out, rate = sys.argv[1:]


class Count(KeyedProcessFunction):
    def open(self, context):
        self.count = context.get_state(ValueStateDescriptor("count", Types.LONG()))

    def process_element(self, value, context):
        count = (self.count.value() or 0) + 1
        self.count.update(count)
        with open(out, "a") as file:
            file.write(f"{value[1]} {count}\n")
        yield count


environment = StreamExecutionEnvironment.get_execution_environment()
tables = StreamTableEnvironment.create(environment)
tables.execute_sql(
    "CREATE TABLE ticks (n BIGINT) WITH ('connector' = 'datagen', 'fields.n.kind' = 'sequence', 'fields.n.start' = '0', "
    f"'fields.n.end' = '100000', 'rows-per-second' = '{rate}')"
)
ticks = tables.to_data_stream(tables.from_path("ticks"))
pairs = ticks.map(lambda row: (row[0] % 2, row[0]), Types.TUPLE([Types.LONG(), Types.LONG()])).uid("pairs")
pairs.key_by(lambda pair: pair[0], Types.LONG()).process(Count(), Types.LONG()).uid("count").print().uid("out")
environment.execute("a name of its own")
"#;

/// Runs in an archive: the function is in another module, which the TaskManagers have to find.
const WORDS: &str = r#"
import sys
from pyflink.table import EnvironmentSettings, TableEnvironment
from jobs.upper import upper

tables = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
tables.create_temporary_function("shout", upper)
tables.execute_sql(
    f"CREATE TABLE words (word STRING) WITH ('connector' = 'filesystem', 'path' = '{sys.argv[1]}', 'format' = 'csv')"
)
tables.execute_sql("INSERT INTO words SELECT shout(w) FROM (VALUES ('one'), ('two')) AS t (w)")
"#;
const UPPER: &str = r"
from pyflink.table import DataTypes
from pyflink.table.udf import udf


@udf(result_type=DataTypes.STRING())
def upper(word):
    return word.upper()
";

fn with_python(cluster: &FlinkCluster, programs: &Path) -> Setup {
    let python = flink::python();
    let clusters = format!("[{{name: main, url: \"{}\", python: \"{}\"}}]", cluster.url(), python.display());
    with_flink(cluster, programs).env("LIBRA_FLINK_CLUSTERS", &clusters)
}

fn counting(out: &Path, rest: &[&str]) -> Value {
    let args: Vec<&str> = [out.to_str().unwrap()].iter().chain(rest).copied().collect();
    json!({
        "job_id": "snakes",
        "job_type": "stream",
        "artifact_path": "count.py",
        "args": args,
        "deployment": {"checkpoint_interval": 500},
        "stability": {"checkpoints": 1, "window_seconds": 1},
    })
}

/// Panics unless each number was counted once and right.
fn assert_counted(out: &Path) -> usize {
    let text = fs::read_to_string(out).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut numbers = BTreeSet::new();
    for line in whole.lines() {
        let (number, count) = line.split_once(' ').unwrap();
        let (number, count): (u64, u64) = (number.parse().unwrap(), count.parse().unwrap());
        assert_eq!(count, number / 2 + 1, "its state was lost, or counted twice");
        assert!(numbers.insert(number), "{number} is there twice");
    }
    numbers.len()
}

#[tokio::test]
async fn a_python_job_goes_on_with_its_state_and_says_why_it_fails() {
    // contract: F1, F3
    let cluster = FlinkCluster::shared().await;
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("count.py"), COUNT).unwrap();
    let libra = with_python(cluster, place.path()).start().await;
    let api = libra.api();
    let out = libra.scratch("counted");
    assert_eq!(apply(&api, &counting(&out, &["20"])).await, "first-deploy");
    let first = stable(&api, "snakes").await;
    // Its name in Flink is its own; Libra knows it by its id.
    assert_eq!(alive(cluster, "a name of its own").await, [first["jobId"].as_str().unwrap()]);
    libra_testkit::wait::until_true("records flow", || assert_counted(&out) > 0).await;

    assert_eq!(apply(&api, &counting(&out, &["30"])).await, "savepoint-redeploy");
    stable(&api, "snakes").await;
    let before = assert_counted(&out);
    libra_testkit::wait::until_true("more records flow", || assert_counted(&out) > before).await;

    apply(&api, &counting(&out, &[])).await;
    let back = until(&api, "snakes", "as it was", |view| {
        let back = view["runningGeneration"] == 2 && view["state"] == "stable";
        view["generation"] == 3 && back && !view["trouble"].is_null()
    })
    .await;
    let message = back["trouble"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(
        message.contains("ValueError: no rate is named") && message.contains("count.py line"),
        "{back:#}"
    );
    assert!(!message.contains("Abort"), "{back:#}");
    assert_counted(&out);
    for (text, words) in [
        ("import nowhere\n", "No module named 'nowhere'"),
        ("def count(:\n", "SyntaxError"),
        ("import sys\nsys.exit('no topic')\n", "no topic"),
    ] {
        fs::write(place.path().join("wrong.py"), text).unwrap();
        let spec = json!({"job_id": "worms", "job_type": "batch", "artifact_path": "wrong.py"});
        apply(&api, &spec).await;
        let said = |view: &Value| view["trouble"]["message"].as_str().unwrap_or_default().contains(words);
        let failed = until(&api, "worms", words, said).await;
        assert_eq!(failed["trouble"]["reason"], "main_failed", "{failed:#}");
    }
    let left = cluster.dir().join("tmp/pyflink").read_dir().into_iter().flatten().count();
    assert_eq!(left, 0, "nothing is left on the JobManager's disk");
    away(&api, cluster, "worms").await;
    api.delete("/api/v1/deployments/snakes?savepoint=false").await.expect(202);
    libra_testkit::wait::until_async("it is gone", async || {
        alive(cluster, "a name of its own").await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn modules_in_an_archive_are_found_where_they_are_needed() {
    // contract: F1, F4
    let cluster = FlinkCluster::shared().await;
    let place = tempfile::tempdir().unwrap();
    let jobs = place.path().join("jobs");
    fs::create_dir(&jobs).unwrap();
    for (name, text) in [("__init__.py", ""), ("words.py", WORDS), ("upper.py", UPPER)] {
        fs::write(jobs.join(name), text).unwrap();
    }
    let zipped = Command::new("python3")
        .args(["-m", "zipfile", "-c", "words.zip", "jobs"])
        .current_dir(place.path())
        .status();
    assert!(zipped.unwrap().success());
    let libra = with_python(cluster, place.path()).start().await;
    let api = libra.api();
    let out = libra.scratch("words");
    let mut spec =
        json!({"job_id": "shouts", "job_type": "batch", "artifact_path": "words.zip", "args": [out]});
    for (module, words) in [(Value::Null, "is needed"), (json!("jobs.nowhere"), "jobs/nowhere.py")] {
        spec["entry_class"] = module;
        let answer = api.post("/api/v1/deployments", &spec).await;
        assert_eq!(
            (answer.status, answer.pointers()),
            (400, vec!["/entry_class".to_owned()]),
            "{}",
            answer.text
        );
        assert!(answer.text.contains(words), "{}", answer.text);
    }
    spec["entry_class"] = json!("jobs.words");
    apply(&api, &spec).await;
    let done = until(&api, "shouts", "completed", |view| view["state"] == "completed").await;
    assert_eq!(done["trouble"], Value::Null, "{done:#}");
    let files = fs::read_dir(&out).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let mut words: Vec<String> =
        files.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    words.sort();
    assert_eq!(words, ["ONE", "TWO"]);
    away(&api, cluster, "shouts").await;
}
