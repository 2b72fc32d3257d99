//! Floods of each kind against the encrypted listeners: what a client does that wants to cost as much as it can.

use std::collections::VecDeque;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};
use tokio_rustls::rustls::ClientConnection;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::TLS13;

use super::quic_client;
use super::server::query;
use super::tls_client::{NAME, Pair, connect_from};

/// Connections that one flooder holds.
const HELD: usize = 100;

/// Where a flood goes.
#[derive(Clone)]
pub(crate) struct Victim {
    pub(crate) tls: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) quic: SocketAddr,
    pub(crate) pair: Pair,
}

/// The course of a flood.
#[derive(Default)]
pub(crate) struct Course {
    /// Ends it.
    pub(crate) done: AtomicBool,
    /// What was done so far: handshakes begun, requests sent, packets.
    pub(crate) count: AtomicU64,
    /// The rest after each.
    pub(crate) pause: Duration,
}

impl Course {
    fn goes_on(&self) -> bool {
        !self.done.load(Ordering::Relaxed)
    }

    fn note(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

/// A flooder: until its course is done, from an address of its own.
pub(crate) type Flood = fn(&Victim, [u8; 4], &Course);

/// All of them by name.
pub(crate) const FLOODS: [(&str, Flood); 5] = [
    ("handshakes that do not end", handshakes),
    ("requests taken back", resets),
    ("slow bodies", bodies),
    ("first packets of QUIC", first_packets),
    ("slow streams of QUIC", streams),
];

/// TLS handshakes that end after their first message; every second one is none.
fn handshakes(victim: &Victim, from: [u8; 4], course: &Course) {
    let config = victim.pair.client(&[b"dot"], &[&TLS13]);
    let mut held = VecDeque::new();
    while course.goes_on() {
        let mut stream = connect_from(from, if held.len() % 2 == 0 { victim.tls } else { victim.https });
        if course.count.load(Ordering::Relaxed).is_multiple_of(2) {
            let name = ServerName::try_from(NAME).unwrap();
            let mut connection = ClientConnection::new(config.clone(), name).unwrap();
            let _ = connection.write_tls(&mut stream);
        } else {
            let _ = stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00");
        }
        held.push_back(stream);
        if held.len() > HELD {
            held.pop_front();
        }
        course.note();
        std::thread::sleep(course.pause);
    }
}

/// A connection by HTTP/2 from an address.
async fn connect_http2(victim: &Victim, from: [u8; 4]) -> Option<h2::client::SendRequest<Bytes>> {
    let socket = tokio::net::TcpSocket::new_v4().ok()?;
    socket.bind(SocketAddr::from((from, 0))).ok()?;
    let stream = socket.connect(victim.https).await.ok()?;
    let config = victim.pair.client(&[b"h2"], &[&TLS13]);
    let name = ServerName::try_from(NAME).ok()?;
    let stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await.ok()?;
    let (send, connection) = h2::client::handshake(stream).await.ok()?;
    tokio::spawn(connection);
    Some(send)
}

fn request(len: Option<usize>) -> http::Request<()> {
    let mut builder = http::Request::post(format!("https://{NAME}/dns-query"));
    builder = builder.header("content-type", "application/dns-message");
    if let Some(len) = len {
        builder = builder.header("content-length", len);
    }
    builder.body(()).unwrap()
}

/// Requests by HTTP/2 that are taken back at once, by one connection after another.
fn resets(victim: &Victim, from: [u8; 4], course: &Course) {
    quic_client::run_on(async {
        while course.goes_on() {
            let Some(send) = connect_http2(victim, from).await else { continue };
            while course.goes_on() {
                let Ok(mut ready) = send.clone().ready().await else { break };
                let Ok((_response, mut stream)) = ready.send_request(request(None), false) else { break };
                let _ = stream.send_data(Bytes::from(query(1, "reset.example")), true);
                tokio::task::yield_now().await;
                stream.send_reset(h2::Reason::CANCEL);
                course.note();
                sleep(course.pause).await;
            }
        }
    });
}

/// Bodies by HTTP/2 that do not end, a hundred on each of many connections.
fn bodies(victim: &Victim, from: [u8; 4], course: &Course) {
    quic_client::run_on(async {
        let mut held = VecDeque::new();
        while course.goes_on() {
            let Some(send) = connect_http2(victim, from).await else { continue };
            let mut open = Vec::new();
            for _ in 0..100 {
                let Ok(Ok(mut ready)) = timeout(Duration::from_millis(100), send.clone().ready()).await else { break };
                let Ok((response, mut stream)) = ready.send_request(request(Some(60_000)), false) else { break };
                let _ = stream.send_data(Bytes::from_static(&[0; 1000]), false);
                open.push((response, stream));
                course.note();
                sleep(course.pause).await;
            }
            held.push_back((send, open));
            if held.len() > HELD {
                held.pop_front();
            }
        }
    });
}

/// The first packet of a client again and again, from one port after another, none of which hears the answer.
fn first_packets(victim: &Victim, from: [u8; 4], course: &Course) {
    let trap = UdpSocket::bind("127.0.0.1:0").unwrap();
    trap.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let address = trap.local_addr().unwrap();
    let mut initial = [0; 1500];
    let len = quic_client::run_on(async {
        loop {
            let connecting = quic_client::endpoint(from, &victim.pair, b"doq").connect(address, NAME).unwrap();
            let _ = timeout(Duration::from_millis(50), connecting).await;
            // On a busy machine the packet may not have left by then.
            if let Ok(len) = trap.recv(&mut initial) {
                break len;
            }
        }
    });
    while course.goes_on() {
        let socket = UdpSocket::bind(SocketAddr::from((from, 0))).unwrap();
        for _ in 0..8 {
            let _ = socket.send_to(&initial[..len], victim.quic);
            course.note();
            std::thread::sleep(course.pause);
        }
    }
}

/// Queries by QUIC that do not end, a hundred on each of many connections.
fn streams(victim: &Victim, from: [u8; 4], course: &Course) {
    quic_client::run_on(async {
        let mut held = VecDeque::new();
        while course.goes_on() {
            let connecting = quic_client::connect(from, victim.quic, &victim.pair);
            let Ok(Ok(connection)) = timeout(Duration::from_secs(2), connecting).await else { continue };
            let mut open = Vec::new();
            for _ in 0..100 {
                let opened = timeout(Duration::from_millis(100), connection.open_bi()).await;
                let Ok(Ok((mut send, receive))) = opened else { break };
                // As much of all streams together as the server takes before it reads.
                let _ = send.write(&[0xff; 600]).await;
                open.push((send, receive));
                course.note();
                sleep(course.pause).await;
            }
            held.push_back((connection, open));
            if held.len() > HELD {
                held.pop_front();
            }
        }
    });
}
