//! What is named in the configuration: queues and quotas, and clusters.

use libra_core::memory::GIB;

use super::tests::from_yaml;
use super::*;

#[test]
fn shares_and_quotas_are_read_as_they_are_written() {
    let yaml = "libra:\n  queues: [{name: default}, {name: nightly, share: 3, limits: {running-jobs: 4, cores: 16}, max-wait-time: 12h, timeout-minutes: 0}]\n  \
                quotas:\n    users: {ann: {memory: 64g}, default: {queued-jobs: 100}}\n    \
                tenants: {blue: {share: 2, submissions-per-minute: 60}, red:}\n  \
                clusters: [{name: east, master: 'spark://h:7077', web-url: 'http://h:8080', limits: {gpus: 8}}, {name: hadoop, master: yarn}]\n";
    let config = from_yaml(yaml).unwrap();
    let times = QueueTimes { wait: Some(Duration::from_hours(12)), run: Some(Duration::ZERO) };
    assert_eq!(config.queue_times, [("nightly".to_owned(), times)].into());
    let east = &config.clusters["east"];
    assert_eq!((east.web_url.as_deref(), east.limits.gpus), (Some("http://h:8080"), Some(8)));
    assert_eq!((config.clusters["hadoop"].master.as_str(), config.clusters.len()), ("yarn", 2));
    let policy = config.policy;
    let nightly = policy.queues["nightly"];
    assert_eq!(
        (nightly.share, nightly.limits.running.jobs, nightly.limits.running.cores),
        (3, Some(4), Some(16))
    );
    assert_eq!(policy.queues["default"].share, 1);
    let ann = policy.user("ann");
    assert_eq!((ann.running.memory, ann.queued), (Some(64 * GIB), None));
    assert_eq!(policy.user("bob").queued, Some(100));
    assert_eq!((policy.tenant("blue").share, policy.tenant("blue").limits.per_minute), (2, Some(60)));
    assert_eq!(policy.tenant("red"), policy.tenant("green"));
}

#[test]
fn shares_and_quotas_that_make_no_sense_are_refused_by_their_key() {
    for (yaml, wanted) in [
        ("queues: 7", "libra.queues must be a list"),
        ("queues: [7]", "libra.queues[0] must be a map"),
        ("queues: [{share: 7}]", "libra.queues[0] needs a name"),
        ("queues: [{name: a}, {name: a}]", "names the queue `a` twice"),
        ("queues: [{name: a, max-wait-time: long}]", "libra.queues[0].max-wait-time must be a duration"),
        ("queues: [{name: a, share: -1}]", "libra.queues[0].share must be a whole number from 0 to"),
        ("queues: [{name: a, shares: 1}]", "libra.queues[0].shares is not known"),
        ("queues: [{name: a, limits: {coers: 1}}]", "libra.queues.a.limits.coers is not known"),
        ("quotas: {users: [ann]}", "libra.quotas.users must be a map"),
        ("quotas: {users: {ann: 7}}", "libra.quotas.users.ann must be a map"),
        ("quotas: {users: {ann: {cores: many}}}", "libra.quotas.users.ann.cores must be a whole number"),
        ("quotas: {tenants: {blue: {memory: much}}}", "libra.quotas.tenants.blue.memory must be an amount"),
        ("clusters: {east: 7}", "libra.clusters must be a list"),
        ("clusters: [{name: east}]", "libra.clusters[0] needs a master"),
        (
            "clusters: [{name: a, master: 'local[2]'}]",
            "libra.clusters[0].master must be the master of a cluster",
        ),
        (
            "clusters: [{name: a, master: yarn}, {name: b, master: yarn}]",
            "libra.clusters[1]: there is a cluster",
        ),
        ("clusters: [{name: a, master: yarn, web-url: 'http://h'}]", "libra.clusters[0].web-url is that of"),
        (
            "clusters: [{name: a, master: 'spark://h:7', web-url: h}]",
            "libra.clusters[0].web-url must be an address",
        ),
        ("clusters: [{name: a, master: yarn, limits: {cores: x}}]", "libra.clusters.a.limits.cores must be"),
        ("quotas: {groups: {a: 7}}", "libra.quotas.groups.a is not a known"),
    ] {
        let error = from_yaml(&format!("libra: {{{yaml}}}")).unwrap_err();
        assert!(error.to_string().contains(wanted), "{yaml}: {error}");
    }
}

#[test]
fn slurms_clusters_are_read() {
    let read = |list: &str| from_yaml(&format!("libra: {{slurm: {{clusters: [{list}]}}}}\n"));
    let config = read(
        "{name: a, rest-url: 'http://h:6820', user: slurm, jwt-key-file: /k, interval: 30s, requests-per-minute: 20}, \
         {name: b, tenant: physics, slurm-conf: /etc/b/slurm.conf, spark-home: /opt/spark}, {name: c, rest-url: 'unix:/run/r.sock', sbatch: always}",
    );
    let clusters = config.unwrap().slurm;
    assert_eq!((clusters[0].interval_seconds, clusters[0].requests_per_minute), (30, 20));
    assert_eq!((clusters[0].tenant.as_str(), clusters[1].tenant.as_str()), ("default", "physics"));
    let SlurmWay::Rest { url, jwt_key_file, .. } = &clusters[0].way else { panic!("{:?}", clusters[0]) };
    assert_eq!((url.as_str(), jwt_key_file.as_deref()), ("http://h:6820", Some(std::path::Path::new("/k"))));
    let homes = [0, 1].map(|at| clusters[at].spark_home.as_deref());
    assert_eq!(homes, [None, Some(std::path::Path::new("/opt/spark"))]);
    for cluster in &clusters[1..] {
        assert!(matches!(cluster.way, SlurmWay::Commands { .. }), "{cluster:?}");
    }
    let mock =
        read("{name: demo, source: mock, seed: 7, nodes: 3, interval: 5s}, {name: more, source: mock}");
    let ways: Vec<SlurmWay> = mock.unwrap().slurm.into_iter().map(|cluster| cluster.way).collect();
    assert_eq!(ways, [SlurmWay::Mock { seed: 7, nodes: 3 }, SlurmWay::Mock { seed: 0, nodes: 8 }]);
    for (list, said) in [
        ("{name: a, source: mock, rest-url: 'http://h'}", "libra.slurm.clusters[0].rest-url has no effect"),
        ("{name: a, source: mock, nodes: 1000}", "from 0 to 256"),
        ("{name: a, source: flux}", "`slurm` or `mock`"),
        ("{name: a, seed: 7}", "source: mock"),
        ("{name: a, rest-url: h}", "must begin with http://"),
        ("{name: a, rest-url: 'http://h', jwt-key-file: /k}", "a token is made for somebody"),
        ("{name: a, rest-url: 'http://h', jwt-key-file: /k, jwt-file: /t}", "one of them is enough"),
        ("{name: a, rest-url: 'http://h', api-version: v0.0.37}", "v0.0.38"),
        ("{name: a, sbatch: never}", "may not use the commands"),
        ("{name: a, sbatch: maybe}", "`always`"),
        ("{name: a, spark-home: spark}", "a whole path"),
        ("{name: a}, {name: a}", "twice"),
        ("{name: a, url: x}", "url"),
    ] {
        let error = read(list).unwrap_err().to_string();
        assert!(error.contains(said), "{list}: {error}");
    }
}

#[test]
fn flinks_clusters_and_directories_are_read() {
    let config = from_yaml(
        "libra: {flink: {artifacts: {directories: [/a, /b]}, clusters: [{name: main, url: 'http://h:8081', headers: {x-who: libra}, \
         token-file: /t, savepoint-directory: 's3://b/sp', max-slots: 8, python: /opt/python}, {name: east, url: 'https://e'}]}}\n",
    )
    .unwrap();
    let flink = &config.flink;
    let main = &flink.clusters[0];
    assert_eq!((main.name.as_str(), main.url.as_str(), main.headers.len()), ("main", "http://h:8081", 1));
    assert_eq!(main.savepoint_directory.as_deref(), Some("s3://b/sp"));
    assert_eq!((main.python.as_deref(), flink.clusters[1].python.as_deref()), (Some("/opt/python"), None));
    assert_eq!((flink.clusters.len(), flink.directories.len()), (2, 2));
    assert_eq!((main.max_slots, flink.clusters[1].max_slots), (Some(8), None));
    let s3 = from_yaml(
        "libra: {flink: {artifacts: {hosts: ['h:7'], s3: {endpoint: 'http://h:9000', region: eu-1, access-key-file: /a, \
         secret-key-file: /s, virtual-hosts: true, buckets: [jobs]}}}}\n",
    )
    .unwrap();
    let origins = &s3.flink.origins;
    let s3 = origins.s3.as_ref().unwrap();
    assert_eq!(origins.hosts, ["h:7"]);
    assert_eq!(
        (s3.region.as_str(), s3.virtual_hosts, s3.buckets.clone()),
        ("eu-1", true, Some(vec!["jobs".to_owned()]))
    );
    // YAML takes a bare `off` for false.
    let off = from_yaml("libra: {flink: {artifacts: {signatures: off}}}\n").unwrap();
    assert_eq!(off.flink.signatures, crate::signatures::Policy::Off);
    for (wrong, says) in [
        ("clusters: {main: 7}", "libra.flink.clusters must be a list"),
        ("clusters: [{name: a}]", "libra.flink.clusters[0] needs the url"),
        ("clusters: [{name: a, url: h:8081}]", "libra.flink.clusters[0].url must be an address"),
        (
            "clusters: [{name: a, url: 'http://h', max-slots: many}]",
            "libra.flink.clusters[0].max-slots must be a whole number",
        ),
        (
            "clusters: [{name: a, url: 'http://h', tokenfile: /t}]",
            "libra.flink.clusters[0].tokenfile is not known",
        ),
        (
            "clusters: [{name: a, url: 'http://h'}, {name: a, url: 'http://i'}]",
            "libra.flink.clusters names the cluster `a` twice",
        ),
        ("artifacts: {directories: /a}", "libra.flink.artifacts.directories must be a list"),
        ("artifacts: {signatures: always}", "libra.flink.artifacts.signatures must be `off`"),
        ("artifacts: {signatures: required}", "public-keys has no key"),
        ("artifacts: {public-keys: [RWnone]}", "must be public keys of minisign"),
        (
            "artifacts: {hosts: ['https://repo.example']}",
            "libra.flink.artifacts.hosts must be names of hosts",
        ),
        ("artifacts: {s3: {endpoint: store}}", "libra.flink.artifacts.s3.endpoint must be an address"),
        ("artifacts: {s3: {endpoint: 'http://h'}}", "libra.flink.artifacts.s3 needs access-key-file"),
        (
            "artifacts: {s3: {endpoint: 'http://h', bucket: b}}",
            "libra.flink.artifacts.s3.bucket is not known",
        ),
    ] {
        let error = from_yaml(&format!("libra: {{flink: {{{wrong}}}}}\n")).unwrap_err().to_string();
        assert!(error.contains(says), "{wrong}: {error}");
    }
}
