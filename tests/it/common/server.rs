//! The built server as a child process, its log (JSON lines on standard error) and its signals.
//!
//! The log is kept and shown when a test fails.

use super::http::{Reply, request};
use super::{SOON, Scratch};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

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

/// A running server, killed when dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) dir: Arc<Scratch>,
    /// The last address for DNS over UDP, once it is ready.
    pub(crate) dns: SocketAddr,
    log: Arc<Log>,
    /// Lines that were waited for already.
    read: usize,
}

impl Server {
    /// Starts with the settings in a directory, the command as `prepare` leaves it, and waits until it is ready.
    #[track_caller]
    pub(crate) fn start_in(dir: Arc<Scratch>, prepare: impl FnOnce(&mut Command)) -> Self {
        let mut server = Self::spawn_in(dir, prepare);
        server.wait_for("ready");
        server.dns = server.address("udp");
        server
    }

    /// Starts without waiting.
    pub(crate) fn spawn_in(dir: Arc<Scratch>, prepare: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pldns"));
        command.args(["serve", "-c"]).arg(dir.path().join("pldns.toml")).env_remove("RUST_LOG");
        prepare(&mut command);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Log::default());
        let (reader, writer) = (BufReader::new(child.stderr.take().unwrap()), log.clone());
        thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                writer.lines().push(line);
                writer.grown.notify_all();
            }
        });
        Self { child, dir, log, read: 0, dns: SocketAddr::from(([0; 4], 0)) }
    }

    /// Waits for the next log event whose message is or begins with this.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, message: &str) -> Value {
        let end = Instant::now() + SOON;
        let log = self.log.clone();
        let mut lines = log.lines();
        loop {
            while let Some(line) = lines.get(self.read) {
                self.read += 1;
                let event: Value = serde_json::from_str(line).unwrap_or_default();
                if event["message"].as_str().is_some_and(|text| text.starts_with(message)) {
                    return event;
                }
            }
            assert!(Instant::now() < end, "the server did not say {message:?}");
            if let Ok(Some(status)) = self.child.try_wait() {
                // Its last lines may still be on their way.
                lines = log.wait(lines, Duration::from_millis(200));
                assert!(lines.len() > self.read, "ended ({status}) without saying {message:?}");
                continue;
            }
            lines = log.wait(lines, Duration::from_millis(100));
        }
    }

    /// The first log event since the start whose message is or begins with this.
    #[track_caller]
    pub(crate) fn wait_for_first(&mut self, message: &str) -> Value {
        self.read = 0;
        self.wait_for(message)
    }

    /// The lines of the log so far that contain this.
    pub(crate) fn lines(&self, part: &str) -> Vec<String> {
        self.log.lines().iter().filter(|line| line.contains(part)).cloned().collect()
    }

    /// The log so far, without lines that are no JSON.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.log.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The addresses that a transport listens on, in the order of the log.
    pub(crate) fn addresses(&self, transport: &str) -> Vec<SocketAddr> {
        let events = self.events();
        let listening = |event: &&Value| event["message"] == "listening" && event["transport"] == transport;
        events.iter().filter(listening).map(|event| event["address"].as_str().unwrap().parse().unwrap()).collect()
    }

    /// The last address of a transport.
    #[track_caller]
    pub(crate) fn address(&self, transport: &str) -> SocketAddr {
        *self.addresses(transport).last().unwrap_or_else(|| panic!("nothing listens for {transport}"))
    }

    pub(crate) fn signal(&self, signal: i32) {
        let (process, signal) = (Pid::from_child(&self.child), Signal::from_named_raw(signal).unwrap());
        kill_process(process, signal).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        let end = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the server does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it with SIGTERM; see [`Self::stopped`].
    #[track_caller]
    pub(crate) fn stop(mut self) -> Value {
        self.signal(libc::SIGTERM);
        self.stopped()
    }

    /// The same with a second signal, for settings that have a drain time.
    #[track_caller]
    pub(crate) fn stop_now(mut self) -> Value {
        let text = fs::read_to_string(self.dir.path().join("pldns.toml")).unwrap();
        self.dir.write("pldns.toml", &text.replace("[listen]", "[listen]\ndrain = \"0s\""));
        self.signal(libc::SIGHUP);
        self.wait_for("reloaded");
        self.stop()
    }

    /// Waits for the end of a server that was told to stop: it must end well, without a panic in its log, and with every query
    /// accounted for. What it says at its end.
    #[track_caller]
    pub(crate) fn stopped(&mut self) -> Value {
        let event = self.wait_for("stopped");
        assert_eq!(self.wait_exit().code(), Some(0), "exit code after SIGTERM");
        let count = |name: &str| event[name].as_u64().unwrap_or_else(|| panic!("no {name} in {event}"));
        assert_eq!(count("received"), count("answered") + count("refused") + count("dropped"), "{event}");
        assert_eq!(self.lines("panicked"), Vec::<String>::new());
        event
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    pub(crate) fn show_log(&self) {
        eprintln!("--- the server's log\n{}\n---", self.log.lines().join("\n"));
    }

    pub(crate) fn get(&self, transport: &str, path: &str) -> Reply {
        request(self.address(transport), "GET", path, &[])
    }

    pub(crate) fn post(&self, path: &str) -> Reply {
        request(self.address("admin"), "POST", path, &["X-Pldns: 1"])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            self.show_log();
        }
    }
}
