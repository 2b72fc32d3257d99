//! A command of `pldns`, run to its end.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a command said, and how it ended.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A command of `pldns` in a directory.
pub(crate) fn run(dir: &Path, arguments: &[&str]) -> Ran {
    run_with_input(dir, arguments, "")
}

/// As [`run`], without root's right to read what modes forbid.
pub(crate) fn run_without_override(dir: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pldns"));
    if rustix::process::geteuid().is_root() {
        command = Command::new("setpriv");
        command.args(["--bounding-set=-dac_override,-dac_read_search", env!("CARGO_BIN_EXE_pldns")]);
    }
    run_command(command, dir, arguments, "")
}

/// As [`run`], with this on standard input.
pub(crate) fn run_with_input(dir: &Path, arguments: &[&str], input: impl AsRef<[u8]>) -> Ran {
    run_command(Command::new(env!("CARGO_BIN_EXE_pldns")), dir, arguments, input)
}

fn run_command(mut command: Command, dir: &Path, arguments: &[&str], input: impl AsRef<[u8]>) -> Ran {
    let mut child = command
        .args(arguments)
        .current_dir(dir)
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads no input may be gone by now: a broken pipe is no fault.
    let _ = child.stdin.take().unwrap().write_all(input.as_ref());
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn code(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "exit code\n--- out\n{}--- err\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn err_has(&self, text: &str) -> &Self {
        assert!(
            self.err.contains(text),
            "{text:?} expected on standard error\n--- out\n{}--- err\n{}",
            self.out,
            self.err
        );
        self
    }

    #[track_caller]
    pub(crate) fn err_lacks(&self, text: &str) -> &Self {
        assert!(!self.err.contains(text), "{text:?} not expected on standard error\n--- err\n{}", self.err);
        self
    }
}
