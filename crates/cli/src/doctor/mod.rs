//! `libra doctor`: what is missing on this machine, and how to get it.

mod backend;
mod host;
mod report;
mod slurm;
mod spark;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use libra_api::client::{Client, ClientError};
use libra_engines::spark_home::SparkHome;

use crate::args::{DoctorArgs, Format, TOKEN_VARIABLE};
use crate::failure::{Exit, Failure};
use crate::{output, serve};
use report::{Check, Report};

/// How long something on the port may take to show that it is Libra.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Looks at everything that a job will need, and asks the Slurm clusters. Starts no Spark and changes nothing.
pub(crate) fn run(args: &DoctorArgs) -> Result<Exit, Failure> {
    let report = Report::new(checks(args));
    match args.output.output {
        Format::Json => output::print_json(&report)?,
        Format::Table => output::print(&report.text())?,
    }
    Ok(if report.ok { Exit::Done } else { Exit::Failed })
}

fn checks(args: &DoctorArgs) -> Vec<Check> {
    let config = match serve::configuration(&args.serve) {
        Ok(config) => config,
        Err(failure) => {
            let check = Check::missing("configuration", failure.message());
            return vec![failure.hints().iter().fold(check, Check::hint)];
        }
    };
    let source =
        args.serve.config.as_ref().map_or("defaults and environment".into(), |p| p.display().to_string());
    let mut checks = vec![Check::ok("configuration", source)];
    match SparkHome::find(config.spark_home.as_deref()) {
        Ok(home) => {
            checks.push(Check::ok("spark", format!("{} in {}", home.version, home.home.display())));
            checks.push(spark::java(home.java.as_deref()));
            checks.push(spark::python(home.python.as_deref()));
            checks.push(spark::client(home.python.as_deref()));
        }
        Err(missing) => checks.push(spark::missing(&missing)),
    }
    checks.extend(backend::checks(&config));
    checks.extend(slurm::checks(&config));
    let (listen, others) = port(config.listen);
    checks.push(listen);
    checks.push(host::data_dir(&config.data_dir, others));
    checks.push(host::disk(&config.data_dir));
    checks.push(host::memory());
    checks
}

/// Whether the port is free, or a Libra answers there already (then true as well).
fn port(listen: SocketAddr) -> (Check, bool) {
    let Err(error) = TcpListener::bind(listen) else {
        return (Check::ok("port", format!("{listen} is free")), false);
    };
    if error.kind() != std::io::ErrorKind::AddrInUse {
        let check = Check::missing("port", format!("{listen} can't be listened on: {error}"))
            .hint("choose another one: `libra serve --listen 127.0.0.1:8081`");
        return (check, false);
    }
    if answers_like_libra(listen) {
        return (Check::ok("port", format!("a Libra answers on {listen}")), true);
    }
    let check = Check::missing("port", format!("{listen} is taken by another program"))
        .hint("choose another one: `libra serve --listen 127.0.0.1:8081`");
    (check, false)
}

fn answers_like_libra(listen: SocketAddr) -> bool {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return false;
    };
    let token = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
    let Ok(client) = Client::new(&format!("http://{listen}"), token) else { return false };
    let query = [("limit", "1".to_owned())];
    let answer = runtime.block_on(async { tokio::time::timeout(ANSWER_LIMIT, client.jobs(&query)).await });
    // A refusal in Libra's own form shows a Libra as well.
    matches!(answer, Ok(Ok(_) | Err(ClientError::Problem(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_is_told_from_a_taken_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // Whoever connects finds the door shut at once.
        let stranger = std::thread::spawn(move || drop(listener.accept()));
        let (check, libra) = port(address);
        assert!(!check.is_ok() && !libra, "{check:?}");
        stranger.join().unwrap();
        assert!(port(address).0.is_ok());
    }
}
