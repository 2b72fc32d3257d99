//! Ten thousand connections that say nothing or next to nothing, and the load balancer's probe between them.
//!
//! The probe comes from 168.63.129.16, and the flood from many addresses: only in a network namespace of their own do
//! both exist.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use super::namespace;
use super::server::{AtTheEnd, RECORDS, SOON, Scratch, Server, query, settings};
use super::tls_client;

/// Connections of the flood, on port 53 and at the health listener together.
const FLOOD: usize = 10_000;
/// Of these, at the health listener.
const AT_HEALTH: usize = 1_000;
/// Addresses that they come from.
const SOURCES: usize = 250;
/// Threads that keep the flood up.
const THREADS: usize = 2;
/// Where Azure's load balancer probes from.
const PROBE: IpAddr = IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16));
/// How long a probe of Azure's load balancer waits for its answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
const PROBES: usize = 40;

const DNS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1)), 53);
const HEALTH: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1)), 80);

/// Every address of 10.9.0.0/16 is this machine's, and the probe's is, too.
const PREPARE: &str = "ip route add local 10.9.0.0/16 dev lo\nip address add 168.63.129.16/32 dev lo";

#[test]
fn the_probe_finds_its_way_through_ten_thousand_connections() {
    if let Some(place) = namespace::place() {
        return inside(place);
    }
    let descriptors = getrlimit(Resource::Nofile).maximum;
    if descriptors.is_some_and(|most| most < FLOOD as u64 + 500) {
        return eprintln!("{descriptors:?} descriptors are not enough: the flood is left out");
    }
    let dir = Scratch::new();
    dir.write("records/r.toml", RECORDS);
    let listen =
        format!("[listen]\ndns = [\"{DNS}\"]\nadmin = \"127.0.0.1:8053\"\nhealth = \"{HEALTH}\"\ndrain = \"0s\"\n");
    dir.write("pldns.toml", &settings(&listen));
    namespace::run("operate::flood::the_probe_finds_its_way_through_ten_thousand_connections", &dir, PREPARE, |_| {});
}

fn inside(place: PathBuf) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let server = Server::start_in(Arc::new(Scratch::at(place)), |_| {});
    let (done, open) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        // A probe that fails must not leave the flood running.
        let _end = AtTheEnd(&done);
        for thread in 0..THREADS {
            let (done, open) = (&done, &open);
            scope.spawn(move || flood(thread, done, open));
        }
        let end = Instant::now() + SOON * 2;
        while open.load(Ordering::Relaxed) < FLOOD {
            assert!(Instant::now() < end, "no flood: {open:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        for number in 0..PROBES {
            let reply = probe_dns();
            assert_eq!(
                reply.as_deref().and_then(<[u8]>::last_chunk),
                Some(&[10, 0, 0, 1]),
                "probe {number} of port 53"
            );
            assert_eq!(probe_health().as_deref(), Some("HTTP/1.1 200"), "probe {number} of /readyz");
            assert!(probe_datagram(), "datagram {number}");
        }
    });
    // Nothing of the flood was a query.
    let stopped = server.stop();
    assert_eq!(stopped["answered"].as_u64(), Some(PROBES as u64 * 2));
}

/// Keeps a share of the flood up: whatever the server closes is opened again.
fn flood(thread: usize, done: &AtomicBool, open: &AtomicUsize) {
    let mut streams: Vec<Option<TcpStream>> = Vec::new();
    while !done.load(Ordering::Relaxed) {
        for number in (thread..FLOOD).step_by(THREADS) {
            let place = number / THREADS;
            if place == streams.len() {
                streams.push(None);
                open.fetch_add(1, Ordering::Relaxed);
            }
            let is_closed = streams[place].as_mut().is_none_or(|stream| {
                let read = stream.read(&mut [0]);
                matches!(read, Ok(0)) || read.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
            });
            if is_closed {
                streams[place] = open_idle(number);
            }
            if done.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// A connection from one of many addresses that says nothing, or every second one its first byte.
fn open_idle(number: usize) -> Option<TcpStream> {
    let source = Ipv4Addr::new(10, 9, 1, (number % SOURCES) as u8);
    let target = if number < AT_HEALTH { HEALTH } else { DNS };
    let mut stream = connect(source.into(), target)?;
    if number.is_multiple_of(2) {
        let _ = stream.write_all(if number < AT_HEALTH { b"G" } else { &[0] });
    }
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

fn connect(from: IpAddr, to: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.set_reuse_address(true).ok()?;
    socket.bind(&SocketAddr::new(from, 0).into()).ok()?;
    socket.connect_timeout(&to.into(), PROBE_TIMEOUT).ok()?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PROBE_TIMEOUT)).ok()?;
    Some(stream)
}

fn probe_dns() -> Option<Vec<u8>> {
    tls_client::ask(&mut connect(PROBE, DNS)?, &query(1, "a.example")).ok()
}

fn probe_health() -> Option<String> {
    let mut stream = connect(PROBE, HEALTH)?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: 10.9.0.1\r\nConnection: close\r\n\r\n").ok()?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).ok()?;
    String::from_utf8(status.to_vec()).ok()
}

fn probe_datagram() -> bool {
    let socket = UdpSocket::bind((PROBE, 0)).unwrap();
    socket.connect(DNS).unwrap();
    socket.set_read_timeout(Some(PROBE_TIMEOUT)).unwrap();
    socket.send(&query(2, "a.example")).unwrap();
    socket.recv(&mut [0; 512]).is_ok()
}
