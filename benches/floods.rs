//! What floods of the encrypted listeners do to clients by UDP, and to the memory: `cargo bench --bench floods`.
//!
//! A client sends 1,000 queries a second from sixteen ports; before and during each flood the 50th and 99th percentile of its response
//! times are taken, what was not answered, and the largest resident memory beside its bound. A flood comes from eight addresses, paced,
//! so that on one machine it takes the network of the server and not all of its CPUs.

#![allow(dead_code, unused_imports, reason = "the tests use what this does not")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a bench has a clock and sockets"
)]

#[path = "../tests/it/common/mod.rs"]
mod common;
#[path = "../tests/it/operate/flooding.rs"]
mod flooding;
#[path = "../tests/it/operate/quic_client.rs"]
mod quic_client;
#[path = "../tests/it/operate/server.rs"]
mod server;
#[path = "../tests/it/operate/tls_client.rs"]
mod tls_client;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flooding::{Course, FLOODS, Flood, Victim};
use server::{AtTheEnd, RECORDS, Scratch, Server, query, settings};
use tls_client::Pair;

const LISTEN: &str = "[listen]\ndns = [\"127.0.0.1:0\"]\ntls = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]\n\
                      quic = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\ndrain = \"0s\"\n\
                      [tls]\ncertificate = \"chain.pem\"\nprivate_key = \"key.pem\"\n";
/// Queries a second of the client by UDP.
const RATE: u32 = 1_000;
/// How long each of the two measurements takes.
const TIME: Duration = Duration::from_secs(8);
/// Flooders, and the rest of each after each thing that it does: 4,000 a second together at most.
const FLOODERS: u8 = 8;
const PAUSE: Duration = Duration::from_millis(2);

fn main() {
    println!("| flood | done/s | p50 before µs | p99 before µs | p50 µs | p99 µs | lost | memory MiB | bound MiB |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (name, flood) in FLOODS {
        measure(name, flood);
    }
}

fn measure(name: &str, flood: Flood) {
    let (dir, pair) = (Arc::new(Scratch::new()), Pair::new(2090));
    dir.write("records/r.toml", RECORDS);
    pair.write(&dir);
    dir.write("pldns.toml", &settings(LISTEN));
    let server = Server::start_in(dir, |_| {});
    let [tls, https, quic] = ["tls", "https", "quic"].map(|transport| server.address(transport));
    let victim = Victim { tls, https, quic, pair };
    let course = Course { pause: PAUSE, ..Course::default() };
    let before = ask(server.dns);
    let (during, memory) = std::thread::scope(|scope| {
        let _end = AtTheEnd(&course.done);
        for flooder in 1..=FLOODERS {
            let (victim, course) = (&victim, &course);
            scope.spawn(move || {
                // It is another machine in truth: here it takes what server and client leave. Linux does it per thread.
                let _ = rustix::process::setpriority_process(None, 19);
                flood(victim, [127, 0, 5, flooder], course);
            });
        }
        // As long as connections may be idle.
        std::thread::sleep(Duration::from_secs(4));
        course.count.store(0, Ordering::Relaxed);
        let during = ask(server.dns);
        let done = course.count.load(Ordering::Relaxed);
        ((during, done), metric(&server, "process_resident_memory_bytes"))
    });
    let bound = metric(&server, "pldns_memory_bound_bytes");
    let ((times, lost), done) = during;
    let mib = |bytes: f64| bytes / 1_048_576.0;
    println!(
        "| {name} | {:.0} | {} | {} | {} | {} | {lost} | {:.0} | {:.0} |",
        done as f64 / TIME.as_secs_f64(),
        percentile(&before.0, 50),
        percentile(&before.0, 99),
        percentile(&times, 50),
        percentile(&times, 99),
        mib(memory),
        mib(bound)
    );
}

fn metric(server: &Server, name: &str) -> f64 {
    let page = server.get("admin", "/metrics").body;
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

/// The response times in microseconds, in order, and how many queries had none within a second.
fn ask(server: SocketAddr) -> (Vec<u128>, u64) {
    let sockets: Vec<UdpSocket> = (0..16).map(|_| server::client(server)).collect();
    let message = query(7, "a.example");
    let (mut times, mut lost) = (Vec::new(), 0);
    let begun = Instant::now();
    for number in 0..RATE * TIME.as_secs() as u32 {
        let due = begun + Duration::from_secs(1) * number / RATE;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let socket = &sockets[number as usize % sockets.len()];
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let sent = Instant::now();
        socket.send(&message).unwrap();
        match socket.recv(&mut [0; 512]) {
            Ok(_) => times.push(sent.elapsed().as_micros()),
            Err(_) => lost += 1,
        }
    }
    times.sort_unstable();
    (times, lost)
}

fn percentile(times: &[u128], percent: usize) -> u128 {
    times.get(times.len() * percent / 100).copied().unwrap_or_default()
}
