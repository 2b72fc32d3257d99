//! Loops through a forwarder that drops our token.

use crate::common::{Answer, FakeAzureDns, Play, Pldns, Query, Script, dns};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// How a forwarder asks.
#[derive(Clone, Copy)]
enum Kind {
    /// With an OPT record of its own, DO in it, as Unbound.
    Dnssec,
    /// Without an OPT record.
    Plain,
}

struct Shared {
    udp: UdpSocket,
    /// Where it forwards to, once that is known.
    server: OnceLock<SocketAddr>,
    kind: Kind,
    /// Queries passed on.
    forwarded: AtomicUsize,
    stopped: AtomicBool,
}

/// A forwarder that asks again three times when it is refused, then says SERVFAIL.
struct Forwarder(Arc<Shared>);

impl Forwarder {
    fn start(kind: Kind) -> Self {
        let shared = Arc::new(Shared {
            udp: UdpSocket::bind("127.0.0.1:0").unwrap(),
            server: OnceLock::new(),
            kind,
            forwarded: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let serving = shared.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((len, from)) = serving.udp.recv_from(&mut buffer) {
                if serving.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, query) = (serving.clone(), buffer[..len].to_vec());
                thread::spawn(move || shared.forward(&query, from));
            }
        });
        Self(shared)
    }

    fn address(&self) -> SocketAddr {
        self.0.udp.local_addr().unwrap()
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        self.0.udp.send_to(&[], self.address()).unwrap();
    }
}

impl Shared {
    fn forward(&self, query: &[u8], from: SocketAddr) {
        let message = dns::Message::parse(query).unwrap();
        let question_end = 12 + message.questions[0].name.len() + 4;
        let mut asked = query[..question_end].to_vec();
        asked[2..12].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        if let Kind::Dnssec = self.kind {
            asked[11] = 1;
            asked.extend([0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
        }
        let mut reply = asked[..question_end].to_vec();
        reply[2..12].copy_from_slice(&[0x81, 0x82, 0, 1, 0, 0, 0, 0, 0, 0]);
        for _ in 0..3 {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(self.server.get().unwrap()).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            self.forwarded.fetch_add(1, Ordering::SeqCst);
            socket.send(&asked).unwrap();
            let mut buffer = [0; 4096];
            let Ok(len) = socket.recv(&mut buffer) else { break };
            let is_answer = buffer[3] & 15 == 0;
            if is_answer {
                reply = buffer[..len].to_vec();
                reply[..2].copy_from_slice(&query[..2]);
                break;
            }
        }
        self.udp.send_to(&reply, from).unwrap();
    }
}

#[test]
fn a_loop_through_a_forwarder_that_drops_our_option_ends_at_once() {
    for kind in [Kind::Dnssec, Kind::Plain] {
        let forwarder = Forwarder::start(kind);
        let rule = format!("[[forward]]\nzone = \".\"\nupstreams = [\"{}\"]\n", forwarder.address());
        let server = Pldns::start(&rule, "");
        forwarder.0.server.set(server.address()).unwrap();
        for n in 0..10 {
            server.ask(&format!("service{n}.corp.example A")).rcode("SERVFAIL").before_deadline();
        }
        let forwarded = forwarder.0.forwarded.load(Ordering::SeqCst);
        // Each attempt is refused as often as the forwarder asks, three times. One is enough, unless the machine is so busy that the
        // next one is due before the refusal has come through; without the refusals each question would have eight.
        assert!((30..=120).contains(&forwarded), "{forwarded} queries for ten questions");
        let said = server
            .events()
            .iter()
            .filter(|event| event["message"].to_string().contains("forwarding loop detected"))
            .count();
        assert_eq!(said, 1, "said once");
        let stopped = server.stop();
        assert!(stopped.refused >= 30, "{} refused", stopped.refused);
    }
}

#[test]
fn a_client_with_the_address_of_an_upstream_is_answered() {
    let fake = FakeAzureDns::start();
    let answer = Answer::of(&["service.corp.example 60 IN A 192.0.2.1"]);
    fake.on("service.corp.example A", Script::udp([Play::silence().then(700, answer)]));
    let server = Pldns::start(&fake.rule("."), "");
    let ask = |query: Query| {
        let address = server.address();
        thread::spawn(move || {
            query.from("127.0.0.1").ask_at(address).rcode("NOERROR");
        })
    };
    let all: Vec<_> = (0..8)
        .map(|n| {
            let query = Query::new("service.corp.example A");
            ask(if n % 2 == 0 { query } else { query.edns_flags(0x8000) })
        })
        .collect();
    for one in all {
        one.join().unwrap();
    }
}
