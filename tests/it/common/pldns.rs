//! The built server as most tests want it: settings and records as text, port 0, ready by its own word, asked like dig asks.
//!
//! A server that a test did not stop itself is stopped when it goes out of scope, and must then end well: exit code 0, no panic in
//! the log, and every query accounted for.

use super::ask::{Got, Query};
use super::{Scratch, Server};
use serde_json::Value;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread;

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

    #[track_caller]
    pub(crate) fn start(mut self) -> Pldns {
        if self.listen.is_empty() {
            self.listen.push("127.0.0.1:0".to_owned());
        }
        let dir = Scratch::new();
        dir.write("pldns.toml", &self.settings);
        dir.write("records/records.toml", or_comment(&self.records));
        for (name, text) in &self.files {
            dir.write(name, text);
        }
        let server = Server::start_in(Arc::new(dir), |command| {
            for address in &self.listen {
                command.args(["--listen", address]);
            }
            command.envs(self.environment.iter().cloned());
        });
        let (mut addresses, tcp) = (server.addresses("udp"), server.addresses("tcp"));
        addresses.dedup();
        assert!(addresses.iter().all(|address| tcp.contains(address)), "UDP on {addresses:?}, TCP on {tcp:?}");
        assert_eq!(addresses.len(), self.listen.len(), "one address for each --listen");
        Pldns { server, addresses, ended: false }
    }
}

pub(crate) struct Pldns {
    server: Server,
    addresses: Vec<SocketAddr>,
    ended: bool,
}

/// What any server can do.
impl Deref for Pldns {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Pldns {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

impl Pldns {
    /// Starts a server on a free port of 127.0.0.1 and waits until it says that it is ready.
    #[track_caller]
    pub(crate) fn start(settings: &str, records: &str) -> Self {
        Setup::new(settings, records).start()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// The address of `[listen] health`.
    pub(crate) fn health_address(&self) -> SocketAddr {
        self.server.address("health")
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
        self.write("records/records.toml", or_comment(records));
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        self.dir.write(file, text);
    }

    /// Records of one file replaced, SIGHUP, and the server's word that they serve.
    pub(crate) fn reload(&mut self, records: &str) -> Value {
        self.write_records(records);
        self.signal(libc::SIGHUP);
        self.wait_for("reloaded")
    }

    /// SIGTERM, and what the server says of its life. The sum is checked.
    pub(crate) fn stop(mut self) -> Stopped {
        self.signal(libc::SIGTERM);
        self.stopped()
    }

    /// Waits for the end of a server that was told to stop.
    pub(crate) fn stopped(&mut self) -> Stopped {
        let event = self.server.stopped();
        self.ended = true;
        let number = |key: &str| event[key].as_u64().unwrap();
        Stopped {
            received: number("received"),
            answered: number("answered"),
            refused: number("refused"),
            dropped: number("dropped"),
        }
    }
}

impl Drop for Pldns {
    fn drop(&mut self) {
        if self.ended || thread::panicking() {
            return;
        }
        self.signal(libc::SIGTERM);
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| self.server.stopped())) {
            self.server.show_log();
            resume_unwind(cause);
        }
    }
}

/// A file of zero bytes is an error: one without records says that it is meant.
fn or_comment(records: &str) -> &str {
    if records.is_empty() { "# no records\n" } else { records }
}
