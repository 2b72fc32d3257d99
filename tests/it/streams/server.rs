//! The built server as a child process, and a client of it.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RData;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

use super::message::query;

/// How long something that must come is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Pldns {
    child: Child,
    directory: PathBuf,
    log: Arc<Mutex<Vec<String>>>,
    address: SocketAddr,
}

/// What the server said.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: ResponseCode,
    pub(crate) addresses: Vec<Ipv4Addr>,
    pub(crate) took: Duration,
}

/// Settings in a directory of their own.
fn directory(settings: &str, files: &[(&str, &str)]) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("pldns-streams-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let settings = format!("[listen]\nadmin = \"\"\ndrain = \"0s\"\n[process]\nworkers = 1\n{settings}");
    std::fs::write(directory.join("pldns.toml"), settings).unwrap();
    for (name, text) in files {
        std::fs::write(directory.join(name), text).unwrap();
    }
    directory
}

/// `pldns check` of these settings.
pub(crate) fn check(settings: &str, files: &[(&str, &str)]) -> Output {
    let directory = directory(settings, files);
    let mut command = Command::new(env!("CARGO_BIN_EXE_pldns"));
    let output = command.arg("check").arg("-c").arg(directory.join("pldns.toml")).output().unwrap();
    std::fs::remove_dir_all(directory).unwrap();
    output
}

/// `pldns explain` of a name by settings whose only rule has this upstream.
pub(crate) async fn explain(upstream: &str, authority: &str, name: &str) -> serde_json::Value {
    let settings =
        format!("[tls]\nupstream_ca = \"ca.pem\"\n[[forward]]\nzone = \".\"\nupstreams = [\"{upstream}\"]\n");
    let directory = directory(&settings, &[("ca.pem", authority)]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_pldns"));
    command.args(["explain", name, "--json", "-c"]).arg(directory.join("pldns.toml"));
    // The upstream runs on this test's thread.
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    std::fs::remove_dir_all(directory).unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

impl Pldns {
    /// A server whose only rule has this upstream.
    pub(crate) async fn with_upstream(upstream: &str, files: &[(&str, &str)]) -> Self {
        let tls = if files.is_empty() { "" } else { "[tls]\nupstream_ca = \"ca.pem\"\n" };
        Self::start(&format!("{tls}[[forward]]\nzone = \".\"\nupstreams = [\"{upstream}\"]\n"), files).await
    }

    pub(crate) async fn start(settings: &str, files: &[(&str, &str)]) -> Self {
        let directory = directory(settings, files);
        let mut child = Command::new(env!("CARGO_BIN_EXE_pldns"))
            .args(["serve", "--listen", "127.0.0.1:0", "-c"])
            .arg(directory.join("pldns.toml"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let reader = BufReader::new(child.stderr.take().unwrap());
        let lines = log.clone();
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        let mut server = Self { child, directory, log, address: ([0; 4], 0).into() };
        server.logged("\"ready\"").await;
        let line = server.logged("\"transport\":\"udp\"").await;
        let (_, address) = line.split_once("\"address\":\"").unwrap();
        server.address = address.split('"').next().unwrap().parse().unwrap();
        server
    }

    /// Asks for the addresses of a name.
    pub(crate) async fn ask(&self, name: &str) -> Reply {
        let start = Instant::now();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(self.address).await.unwrap();
        socket.send(&query(0x0bad, name)).await.unwrap();
        let mut buffer = [0; 4096];
        let received = timeout(PATIENCE, socket.recv(&mut buffer)).await;
        let len = received.unwrap_or_else(|_| panic!("no reply for {name}; log: {:#?}", self.lines(""))).unwrap();
        let message = Message::from_vec(&buffer[..len]).unwrap();
        assert_eq!(message.metadata.id, 0x0bad);
        let addresses = message.answers.iter().filter_map(|record| match &record.data {
            RData::A(address) => Some(address.0),
            _ => None,
        });
        Reply { code: message.metadata.response_code, addresses: addresses.collect(), took: start.elapsed() }
    }

    /// Asks for a name that must be answered with its address.
    pub(crate) async fn must_answer(&self, name: &str) -> Duration {
        let reply = self.ask(name).await;
        let log = || self.lines("");
        assert_eq!(reply.code, ResponseCode::NoError, "{name}; log: {:#?}", log());
        assert_eq!(reply.addresses, [super::message::address_of(name)], "{name}; log: {:#?}", log());
        reply.took
    }

    /// Waits for a line of the log.
    pub(crate) async fn logged(&self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(line) = self.lines(part).into_iter().next() {
                return line;
            }
            sleep(Duration::from_millis(5)).await;
        }
        panic!("{part} is not in the log: {:#?}", self.lines(""));
    }

    /// Warnings in the log, but for the one that tests as root get.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.lines("WARN").into_iter().filter(|line| !line.contains("running as root")).collect()
    }

    /// The lines of the log that contain this.
    pub(crate) fn lines(&self, part: &str) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter().filter(|line| line.contains(part)).cloned().collect()
    }

    /// Writes a file and lets the server read all anew.
    pub(crate) async fn reload(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            std::fs::write(self.directory.join(name), text).unwrap();
        }
        self.signal("-HUP");
        self.logged("\"reloaded\"").await;
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Pldns {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.signal("-TERM");
            let status = self.child.wait().unwrap();
            assert!(status.success(), "{status}; log: {:#?}", self.lines(""));
            assert!(self.lines("panicked").is_empty(), "{:#?}", self.lines("panicked"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
