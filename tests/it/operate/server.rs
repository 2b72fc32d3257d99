//! The built server as a child process, and small clients for it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take that is waited for.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) const RECORDS: &str = "[[record]]\nname = \"a.example\"\ntype = \"A\"\ndata = \"10.0.0.1\"\n";

/// A directory that is gone with its test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pldns-operate-{}-{number}", std::process::id()));
        fs::create_dir_all(path.join("records")).unwrap();
        Self(path)
    }

    /// One that is there already.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.0.join(file), text).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[derive(Default)]
struct Log {
    events: Mutex<Vec<Value>>,
    grown: Condvar,
}

/// A running server.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) dir: Arc<Scratch>,
    log: Arc<Log>,
    /// Events before this one were waited for already.
    seen: usize,
    pub(crate) dns: SocketAddr,
}

/// Settings of a test: listeners on port 0, a fast watch, no upstream that answers.
pub(crate) fn settings(more: &str) -> String {
    let mut text = String::new();
    if !more.contains("[listen]") {
        text +=
            "[listen]\ndns = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\nhealth = \"127.0.0.1:0\"\ndrain = \"0s\"\n";
    }
    text += more;
    if !more.contains("[records]") {
        text += "\n[records]\nfiles = [\"records/*.toml\"]\nwatch = \"100ms\"\n";
    }
    if !more.contains("[process]") {
        text += "\n[process]\nworkers = 2\n";
    }
    if !more.contains("[[forward]]") {
        text += "\n[[forward]]\nzone = \".\"\nupstreams = [\"127.0.0.1:9\"]\n";
    }
    text
}

impl Server {
    /// Starts with `more` settings and [`RECORDS`], and waits until it is ready.
    pub(crate) fn start(more: &str) -> Self {
        let dir = Arc::new(Scratch::new());
        dir.write("records/r.toml", RECORDS);
        dir.write("pldns.toml", &settings(more));
        Self::start_in(dir, |_| {})
    }

    pub(crate) fn start_in(dir: Arc<Scratch>, prepare: impl FnOnce(&mut Command)) -> Self {
        let mut server = Self::spawn_in(dir, prepare);
        server.wait_for("ready");
        server.dns = server.address("udp");
        server
    }

    /// Starts without waiting.
    pub(crate) fn spawn_in(dir: Arc<Scratch>, prepare: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pldns"));
        command.args(["serve", "-c"]).arg(dir.path().join("pldns.toml"));
        prepare(&mut command);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Log::default());
        let (stderr, writer) = (child.stderr.take().unwrap(), log.clone());
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                writer.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
                writer.grown.notify_all();
            }
        });
        Self { child, dir, log, seen: 0, dns: SocketAddr::from(([0; 4], 0)) }
    }

    /// Waits for the next event with this message.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, message: &str) -> Value {
        let end = Instant::now() + SOON;
        let mut events = self.log.events.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let found = events.iter().enumerate().skip(self.seen).find(|(_, event)| {
                let said = event["message"].as_str().unwrap_or_default();
                said.starts_with(message)
            });
            if let Some((at, event)) = found {
                self.seen = at + 1;
                return event.clone();
            }
            assert!(Instant::now() < end, "no \"{message}\" in {events:#?}");
            events = self
                .log
                .grown
                .wait_timeout(events, Duration::from_millis(100))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// All that was logged so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.log.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last address of a transport.
    pub(crate) fn address(&self, transport: &str) -> SocketAddr {
        let events = self.events();
        let listening = |event: &&Value| event["message"] == "listening" && event["transport"] == transport;
        let event = events.iter().rfind(listening).unwrap_or_else(|| panic!("{events:#?}"));
        event["address"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY is not needed: the command does it.
        let status = Command::new("kill").args([format!("-{signal}"), self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    #[track_caller]
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        let end = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end: {:#?}", self.events());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it and checks that every query is accounted for.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Value {
        self.signal(15);
        let stopped = self.wait_for("stopped");
        assert!(self.wait_exit().success());
        let count = |name: &str| stopped[name].as_u64().unwrap();
        assert_eq!(count("received"), count("answered") + count("refused") + count("dropped"), "{stopped}");
        stopped
    }

    /// The same with a second signal, for settings that have a drain time.
    #[track_caller]
    pub(crate) fn stop_now(mut self) -> Value {
        let text = fs::read_to_string(self.dir.path().join("pldns.toml")).unwrap();
        self.dir.write("pldns.toml", &text.replace("[listen]", "[listen]\ndrain = \"0s\""));
        self.signal(1);
        self.wait_for("reloaded");
        self.stop()
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
            eprintln!("{:#?}", self.events());
        }
    }
}

/// Sets a flag however its scope is left, so that no thread goes on when a test has failed.
pub(crate) struct AtTheEnd<'d>(pub(crate) &'d AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An HTTP reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// One request by hand. Headers may replace `Host`.
#[track_caller]
pub(crate) fn request(address: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Reply {
    try_request(address, method, path, headers).unwrap_or_else(|| panic!("no reply to {method} {path}"))
}

pub(crate) fn try_request(address: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Option<Reply> {
    let mut stream = TcpStream::connect_timeout(&address, SOON).ok()?;
    stream.set_read_timeout(Some(SOON)).ok()?;
    let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|header| header.starts_with("Host:")) {
        text += &format!("Host: {address}\r\n");
    }
    for header in headers {
        text += header;
        text += "\r\n";
    }
    text += "Content-Length: 0\r\n\r\n";
    stream.write_all(text.as_bytes()).ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    let (head, body) = reply.split_once("\r\n\r\n")?;
    Some(Reply {
        status: head.split(' ').nth(1)?.parse().ok()?,
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    })
}

/// A port of loopback for a listener that must be named: below those that the system gives to others.
pub(crate) fn named_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = (20_000 + (std::process::id() % 400) * 30 + number % 30) as u16;
        let free = UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpStream::connect(("127.0.0.1", port)).is_err();
        if free {
            return port;
        }
    }
}

/// A query with this ID for a name's A records.
pub(crate) fn query(id: u16, name: &str) -> Vec<u8> {
    let mut octets = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        octets.push(label.len() as u8);
        octets.extend_from_slice(label.as_bytes());
    }
    octets.extend_from_slice(&[0, 0, 1, 0, 1]);
    octets
}

/// A client's socket.
pub(crate) fn client(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

/// Asks by UDP; the address of the answer, or nothing when there is no answer in time or no address in it.
pub(crate) fn ask(server: SocketAddr, name: &str) -> Option<[u8; 4]> {
    let socket = client(server);
    socket.send(&query(7, name)).ok()?;
    let mut octets = [0; 1500];
    let len = socket.recv(&mut octets).ok()?;
    (octets[7] > 0).then(|| octets[len - 4..len].try_into().unwrap())
}

/// Asks until the answer is this one.
#[track_caller]
pub(crate) fn ask_until(server: SocketAddr, name: &str, address: [u8; 4]) {
    let end = Instant::now() + SOON;
    loop {
        let got = ask(server, name);
        if got == Some(address) {
            return;
        }
        assert!(Instant::now() < end, "{name} at {server} stays {got:?}");
        thread::sleep(Duration::from_millis(20));
    }
}
