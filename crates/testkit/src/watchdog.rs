//! Ends what a killed test process leaves behind. `Drop` does not run for a `static`, nor after SIGKILL, so each
//! data directory has a small shell beside it that waits for either end.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

const SCRIPT: &str = r#"
dir=$2
while kill -0 "$1" 2>/dev/null && [ -d "$dir" ]; do sleep 1; done
[ -d "$dir" ] || exit 0
each() {
  for proc in /proc/[0-9]*; do
    case $(readlink "$proc/cwd" 2>/dev/null) in
      "$dir" | "$dir"/*) kill "-$1" "${proc#/proc/}" 2>/dev/null && found=yes ;;
    esac
  done
}
each TERM
for _ in 1 2 3 4 5 6 7 8 9 10; do
  sleep 1
  found=
  each 0
  [ -n "$found" ] || break
done
each KILL
rm -rf "$dir"
"#;

/// Watches over `dir` until it is gone, or this process is.
pub fn watch(dir: &Path) {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", SCRIPT, "libra-test-watchdog", &std::process::id().to_string()])
        .arg(dir)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C in the terminal is for the tests, not for those who clean up after them.
        .process_group(0);
    let mut child = shell.spawn().expect("there is a sh");
    std::thread::spawn(move || child.wait());
}
