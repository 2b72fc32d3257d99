//! The built server as a child process: settings and records as text, port 0, ready by its own word.
//!
//! Its log (JSON lines on standard error) is kept and shown when a test fails. A server that a test did not stop
//! itself is stopped when it goes out of scope, and must then end well: exit code 0, no panic in the log, and every
//! query accounted for.

use super::ask::{Got, Query};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(10);

/// A directory of one test, gone with it.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pldns-it-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self { path }
    }

    pub(crate) fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.path.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

impl Log {
    /// A test that fails while it waits poisons the lock; the log is wanted all the more then.
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, lines: MutexGuard<'a, Vec<String>>, limit: Duration) -> MutexGuard<'a, Vec<String>> {
        self.grown.wait_timeout(lines, limit).unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What the server said when it stopped.
pub(crate) struct Stopped {
    pub(crate) received: u64,
    pub(crate) answered: u64,
    pub(crate) refused: u64,
    pub(crate) dropped: u64,
}

/// How a server is started; see [`Pldns::start`] for the usual case.
pub(crate) struct Setup {
    settings: String,
    records: String,
    listen: Vec<String>,
    files: Vec<(String, String)>,
    environment: Vec<(String, String)>,
}

impl Setup {
    /// Settings without `[listen]` get one that turns the admin listener and the drain time off; reloads
    /// are by signal alone.
    pub(crate) fn new(settings: &str, records: &str) -> Self {
        let listen = if settings.contains("[listen]") { "" } else { "[listen]\nadmin = \"\"\ndrain = \"0s\"\n\n" };
        let files = if settings.contains("[records]") {
            ""
        } else {
            "\n[records]\nfiles = [\"records/*.toml\"]\nwatch = \"0s\"\n"
        };
        Self {
            settings: format!("{listen}{settings}{files}"),
            records: records.to_owned(),
            listen: Vec::new(),
            files: Vec::new(),
            environment: Vec::new(),
        }
    }

    pub(crate) fn listen(mut self, address: &str) -> Self {
        self.listen.push(address.to_owned());
        self
    }

    /// A file beside the settings.
    pub(crate) fn with_file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// A variable of the server's environment.
    pub(crate) fn with_environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn start(mut self) -> Pldns {
        if self.listen.is_empty() {
            self.listen.push("127.0.0.1:0".to_owned());
        }
        let dir = Scratch::new();
        let settings = dir.write("pldns.toml", &self.settings);
        dir.write("records/records.toml", or_comment(&self.records));
        for (name, text) in &self.files {
            dir.write(name, text);
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_pldns"));
        command.arg("serve").arg("-c").arg(settings);
        for address in &self.listen {
            command.args(["--listen", address]);
        }
        let mut child = command
            .env_remove("RUST_LOG")
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Log::default());
        let reader = BufReader::new(child.stderr.take().unwrap());
        let writer = Arc::clone(&log);
        thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                writer.lines().push(line);
                writer.grown.notify_all();
            }
        });
        let mut server = Pldns { child, log, read: 0, addresses: Vec::new(), dir, ended: false };
        server.wait_for("ready", START);
        server.addresses = server.listening();
        assert_eq!(server.addresses.len(), self.listen.len(), "one address for each --listen");
        server.read = server.log.lines().len();
        server
    }
}

pub(crate) struct Pldns {
    child: Child,
    log: Arc<Log>,
    /// Lines that `wait_for` has passed.
    read: usize,
    addresses: Vec<SocketAddr>,
    dir: Scratch,
    ended: bool,
}

impl Pldns {
    /// Starts a server on a free port of 127.0.0.1 and waits until it says that it is ready.
    pub(crate) fn start(settings: &str, records: &str) -> Self {
        Setup::new(settings, records).start()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// The address of `[listen] health`.
    pub(crate) fn health_address(&self) -> SocketAddr {
        let events = self.events();
        let of_health = events.iter().find(|event| event["message"] == "listening" && event["transport"] == "health");
        of_health.and_then(|event| event["address"].as_str()?.parse().ok()).expect("a health listener")
    }

    /// The directory of settings and records.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// `name TYPE` asked with RD and EDNS over UDP.
    pub(crate) fn ask(&self, question: &str) -> Got {
        Query::new(question).ask_at(self.address())
    }

    pub(crate) fn write_records(&self, records: &str) {
        self.dir.write("records/records.toml", or_comment(records));
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        self.dir.write(file, text);
    }

    /// Records of one file replaced, SIGHUP, and the server's word that they serve.
    pub(crate) fn reload(&mut self, records: &str) -> Value {
        self.write_records(records);
        self.signal(libc::SIGHUP);
        self.wait_for("reloaded", STOP)
    }

    #[expect(unsafe_code, reason = "std cannot send signals; the process is our own child and not yet waited for")]
    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: kill takes two integers and touches no memory of ours.
        let result = unsafe { libc::kill(self.child.id() as i32, signal) };
        assert_eq!(result, 0, "sending signal {signal}");
    }

    /// The first log event since the start whose message is or begins with this.
    pub(crate) fn wait_for_first(&mut self, message: &str, patience: Duration) -> Value {
        self.read = 0;
        self.wait_for(message, patience)
    }

    /// How many descriptors the server has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// The next log event whose message is or begins with this.
    pub(crate) fn wait_for(&mut self, message: &str, patience: Duration) -> Value {
        let deadline = Instant::now() + patience;
        let log = Arc::clone(&self.log);
        let mut lines = log.lines();
        loop {
            while let Some(line) = lines.get(self.read) {
                self.read += 1;
                let event: Value = serde_json::from_str(line).unwrap_or(Value::Null);
                if event["message"].as_str().is_some_and(|text| text.starts_with(message)) {
                    return event;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the server did not say {message:?}");
            if let Ok(Some(status)) = self.child.try_wait() {
                // Its last lines may still be on their way.
                lines = log.wait(lines, Duration::from_millis(200));
                assert!(lines.len() > self.read, "ended ({status}) without saying {message:?}");
                continue;
            }
            lines = log.wait(lines, left.min(Duration::from_millis(100)));
        }
    }

    /// Log events so far, those that are no JSON left out.
    pub(crate) fn events(&self) -> Vec<Value> {
        let lines = self.log.lines();
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The addresses of the `listening` lines: each must have both transports.
    fn listening(&self) -> Vec<SocketAddr> {
        let of = |transport: &str| {
            let mut found: Vec<SocketAddr> = self
                .events()
                .iter()
                .filter(|event| event["message"] == "listening" && event["transport"] == transport)
                .map(|event| event["address"].as_str().unwrap().parse().unwrap())
                .collect();
            found.dedup();
            found
        };
        let (udp, tcp) = (of("udp"), of("tcp"));
        assert!(udp.iter().all(|address| tcp.contains(address)), "UDP on {udp:?}, TCP on {tcp:?}");
        udp
    }

    /// SIGTERM, and what the server says of its life. The sum is checked.
    pub(crate) fn stop(mut self) -> Stopped {
        self.signal(libc::SIGTERM);
        self.stopped()
    }

    /// Waits for the end of a server that was told to stop.
    pub(crate) fn stopped(&mut self) -> Stopped {
        let event = self.wait_for("stopped", STOP);
        let status = self.wait_exit();
        self.ended = true;
        assert_eq!(status.code(), Some(0), "exit code after SIGTERM");
        let number = |key: &str| event[key].as_u64().unwrap_or_else(|| panic!("no {key} in {event}"));
        let stopped = Stopped {
            received: number("received"),
            answered: number("answered"),
            refused: number("refused"),
            dropped: number("dropped"),
        };
        assert_eq!(
            stopped.received,
            stopped.answered + stopped.refused + stopped.dropped,
            "received = answered + refused + dropped: {event}"
        );
        let lines = self.log.lines();
        assert!(!lines.iter().any(|line| line.contains("panicked")), "a panic in the log");
        drop(lines);
        stopped
    }

    fn wait_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + STOP;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end after SIGTERM");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn show_log(&self) {
        eprintln!("--- the server's log");
        for line in self.log.lines().iter() {
            eprintln!("{line}");
        }
        eprintln!("---");
    }
}

impl Drop for Pldns {
    fn drop(&mut self) {
        if thread::panicking() {
            self.show_log();
        } else if !self.ended {
            self.signal(libc::SIGTERM);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.stopped()));
            if let Err(cause) = result {
                self.show_log();
                let _ = self.child.kill();
                let _ = self.child.wait();
                std::panic::resume_unwind(cause);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file of zero bytes is an error: one without records says that it is meant.
fn or_comment(records: &str) -> &str {
    if records.is_empty() { "# no records\n" } else { records }
}

/// A command of `pldns`, run to its end in a scratch directory.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

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

/// As [`run`], with this text on standard input.
pub(crate) fn run_with_input(dir: &Path, arguments: &[&str], input: &str) -> Ran {
    run_command(Command::new(env!("CARGO_BIN_EXE_pldns")), dir, arguments, input)
}

fn run_command(mut command: Command, dir: &Path, arguments: &[&str], input: &str) -> Ran {
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
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
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
