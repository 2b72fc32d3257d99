//! The built server with its listeners for operators, and small clients for it.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::ask;
pub(crate) use crate::common::ask::query;
use crate::common::dns::Message;
pub(crate) use crate::common::http::{Reply, request, try_request};
pub(crate) use crate::common::{SOON, Scratch, Server};

pub(crate) const RECORDS: &str = "[[record]]\nname = \"a.example\"\ntype = \"A\"\ndata = \"10.0.0.1\"\n";

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
    #[track_caller]
    pub(crate) fn start(more: &str) -> Self {
        let dir = Arc::new(Scratch::new());
        dir.write("records/r.toml", RECORDS);
        dir.write("pldns.toml", &settings(more));
        Self::start_in(dir, |_| {})
    }
}

/// Sets a flag however its scope is left, so that no thread goes on when a test has failed.
pub(crate) struct AtTheEnd<'d>(pub(crate) &'d AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A port of loopback for a listener that must be named: below those that the system gives to others.
pub(crate) fn named_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = (20_000 + (std::process::id() % 60) * 200 + number % 200) as u16;
        let free = UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpStream::connect(("127.0.0.1", port)).is_err();
        if free {
            return port;
        }
    }
}

/// A client's socket.
pub(crate) fn client(server: SocketAddr) -> UdpSocket {
    let socket = ask::client(None, server);
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

/// Asks by UDP; the address of the answer, or nothing when there is no answer in time or no address in it.
pub(crate) fn ask(server: SocketAddr, name: &str) -> Option<[u8; 4]> {
    let socket = client(server);
    socket.send(&query(7, name)).ok()?;
    let mut bytes = [0; 1500];
    let len = socket.recv(&mut bytes).ok()?;
    let message = Message::parse(&bytes[..len]).unwrap();
    message.answers.last().map(|record| record.rdata[..].try_into().unwrap())
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
