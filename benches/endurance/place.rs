//! The server under test: its files, its processes one after another, and what it counts itself.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::load;
use crate::process::free_port;
use crate::scratch::Scratch;

/// How long anything may take that is waited for.
const SOON: Duration = Duration::from_secs(60);

/// Files and addresses of the server.
pub(crate) struct Place {
    scratch: Scratch,
    pub(crate) dns: SocketAddr,
    admin: SocketAddr,
    started: usize,
}

/// A process.
pub(crate) struct Server {
    child: Child,
    number: usize,
}

/// What a process counted, said when it ended.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) received: u64,
    pub(crate) answered: u64,
}

impl Place {
    /// Writes settings and so many records.
    pub(crate) fn new(records: u32, workers: usize) -> Self {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let place =
            Self { scratch: Scratch::new("endurance"), dns: local(free_port()), admin: local(free_port()), started: 0 };
        let settings = format!(
            "[listen]\ndns = [\"{}\"]\nadmin = \"{}\"\ndrain = \"0s\"\n[records]\nfiles = [\"records.toml\"]\nwatch = \"0s\"\n\
             [process]\nworkers = {workers}\nhandover = \"{}/run.sock\"\n[log]\nformat = \"json\"\n\
             [[forward]]\nzone = \".\"\nupstreams = [\"127.0.0.1:9\"]\n",
            place.dns,
            place.admin,
            place.scratch.path().display()
        );
        place.scratch.write("pldns.toml", &settings);
        place.write_records(records, 30);
        place
    }

    /// Writes records anew: the same addresses with another TTL.
    pub(crate) fn write_records(&self, records: u32, ttl: u32) {
        let mut text = String::with_capacity(records as usize * 90);
        for number in 0..records {
            let [a, b, c, d] = load::address(number);
            let name = load::name(number);
            text += &format!(
                "[[record]]\nname = \"{name}\"\ntype = \"A\"\ndata = \"{a}.{b}.{c}.{d}\"\nttl = \"{ttl}s\"\n\n"
            );
        }
        self.scratch.write("records.next", &text);
        let path = self.scratch.path();
        fs::rename(path.join("records.next"), path.join("records.toml")).expect("files of a run can be renamed");
    }

    /// Starts a process and waits until it is ready.
    pub(crate) fn start(&mut self) -> Result<Server, String> {
        self.started += 1;
        let number = self.started;
        let log = fs::File::create(self.log(number)).map_err(|error| error.to_string())?;
        let child = Command::new(env!("CARGO_BIN_EXE_pldns"))
            .args(["serve", "-c"])
            .arg(self.scratch.path().join("pldns.toml"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut server = Server { child, number };
        let end = Instant::now() + SOON;
        while !self.said(&server).contains("\"message\":\"ready\"") {
            let ended = server.child.try_wait().ok().flatten();
            if ended.is_some() || Instant::now() > end {
                return Err(format!("no start: {}", self.said(&server)));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(server)
    }

    /// Waits until a process has ended by itself, or ends it; gives what it counted.
    pub(crate) fn ended(&self, mut server: Server, ask: bool) -> Result<Counted, String> {
        if ask {
            let _ = Command::new("kill").arg(server.child.id().to_string()).status();
        }
        let end = Instant::now() + SOON;
        while server.child.try_wait().ok().flatten().is_none() {
            if Instant::now() > end {
                return Err("the process does not end".to_owned());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let said = self.said(&server);
        let line = said.lines().rev().find(|line| line.contains("\"message\":\"stopped\""));
        let event: serde_json::Value =
            line.and_then(|line| serde_json::from_str(line).ok()).ok_or_else(|| format!("no last word: {said}"))?;
        let count = |key: &str| event[key].as_u64().unwrap_or_default();
        Ok(Counted { received: count("received"), answered: count("answered") })
    }

    /// Reloads and gives how long that took.
    pub(crate) fn reload(&self) -> Result<Duration, String> {
        let begin = Instant::now();
        let request = format!(
            "POST /reload HTTP/1.1\r\nHost: {}\r\nX-Pldns: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.admin
        );
        let mut reply = String::new();
        let mut ask = || -> std::io::Result<()> {
            let mut stream = TcpStream::connect(self.admin)?;
            stream.write_all(request.as_bytes())?;
            stream.read_to_string(&mut reply)?;
            Ok(())
        };
        ask().map_err(|error| error.to_string())?;
        if reply.starts_with("HTTP/1.1 200") { Ok(begin.elapsed()) } else { Err(reply) }
    }

    fn log(&self, number: usize) -> std::path::PathBuf {
        self.scratch.path().join(format!("log.{number}"))
    }

    fn said(&self, server: &Server) -> String {
        fs::read_to_string(self.log(server.number)).unwrap_or_default()
    }
}

impl Server {
    /// Its memory, KiB: resident now, and at most so far.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        (field("VmRSS:").unwrap_or_default(), field("VmHWM:").unwrap_or_default())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
