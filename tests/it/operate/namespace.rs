//! A test that runs itself again where mounts and interfaces are no others' concern.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::server::Scratch;

/// Tells the test where its files are, and that it is inside.
const INSIDE: &str = "PLDNS_TEST_INSIDE";

/// Runs the test that calls this once more, by its path `test`, in new namespaces for mounts and network, with the loopback
/// interface up and after the shell commands in `prepare`; every line that it says there goes to `hear`. Where that cannot be
/// had, nothing runs.
#[track_caller]
pub(crate) fn run(test: &str, dir: &Scratch, prepare: &str, mut hear: impl FnMut(&str)) {
    let can = || {
        let mut command = Command::new("unshare");
        command.args(["-m", "-n", "ip", "link", "set", "lo", "up"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !rustix::process::geteuid().is_root() || !can() {
        return eprintln!("not root, or no namespaces to be had: {test} is left out");
    }
    let mut child = Command::new("unshare")
        .args(["-m", "-n", "bash", "-c", &format!("set -e\nip link set lo up\n{prepare}\nexec \"$@\""), "bash"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        hear(&line);
        said.push(line);
    }
    assert!(child.wait().unwrap().success(), "{said:#?}");
    assert!(said.iter().any(|line| line.contains("1 passed")), "{said:#?}");
}

/// The directory of the test, when it is inside.
pub(crate) fn place() -> Option<PathBuf> {
    std::env::var_os(INSIDE).map(PathBuf::from)
}
