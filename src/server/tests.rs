//! Workers with real sockets, in which defects happen on purpose: what they cost, and that all goes on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{
    ConnectionLimits, Counters, Endpoint, EndpointKind, Inherited, NewListeners, Part, Shared, Totals, Workers,
};
use crate::cache::Cache;
use crate::engine::Engine;
use crate::forward::{Forwarding, LoopGuard, UpstreamSets};
use crate::reload::load;

/// How long anything may take that is waited for.
const SOON: Duration = Duration::from_secs(20);

/// One worker, and an upstream that answers each name with 192.0.2.1: names that begin with "again" at the second time,
/// names that begin with "later" once it is told to.
struct Server {
    shared: Arc<Shared>,
    workers: Workers,
    address: SocketAddr,
    upstream: Arc<UpstreamState>,
}

/// What an upstream is told by a test.
#[derive(Default)]
struct UpstreamState {
    done: AtomicBool,
    is_later: AtomicBool,
}

impl Server {
    fn start() -> Self {
        let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
        let state = Arc::<UpstreamState>::default();
        let directory = std::env::temp_dir().join(format!(
            "pldns-faults-{}-{}",
            std::process::id(),
            upstream.local_addr().unwrap().port()
        ));
        std::fs::create_dir_all(directory.join("records")).unwrap();
        let file = directory.join("pldns.toml");
        let forward = format!("[[forward]]\nzone = \".\"\nupstreams = [\"{}\"]\n", upstream.local_addr().unwrap());
        std::fs::write(&file, forward).unwrap();
        let record = "[[record]]\nname = \"a.example\"\ntype = \"A\"\ndata = \"10.0.0.1\"\n";
        std::fs::write(directory.join("records/r.toml"), record).unwrap();
        let loaded = load(&file);
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(!loaded.problems.has_errors());
        let snapshot = loaded.into_snapshot(&mut UpstreamSets::default(), 0);
        let guard = LoopGuard::default();
        let engine = Engine::new(Arc::new(Cache::new(1 << 20)), guard.clone());
        let limits = ConnectionLimits { total: 100, kept: 0, per_address: 100 };
        let shared = Arc::new(Shared::new(engine, snapshot, Forwarding::new([1; 32], guard), limits).unwrap());
        let mut workers = super::start(&shared, 1, &mut || Ok([2; 32])).unwrap();
        let endpoint = Endpoint::new(EndpointKind::Dns, "127.0.0.1:0".parse().unwrap());
        let new = NewListeners::bind(&[endpoint], 1, &mut Inherited::default()).unwrap();
        let (serving, _) = workers.serve_only(&[endpoint], new);
        let told = state.clone();
        std::thread::spawn(move || answer_all(&upstream, &told));
        Self { shared, workers, address: serving[0].address, upstream: state }
    }

    fn client(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(self.address).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket
    }

    /// The rcode of the reply to a question for a name.
    fn ask(&self, name: &str) -> u8 {
        let socket = self.client();
        socket.send(&query(7, name)).unwrap();
        receive(&socket).1
    }

    /// Sends a question that meets a defect, and shows that it gets no reply while a later one does.
    fn lose(&self, name: &str) {
        let socket = self.client();
        socket.send(&query(1, name)).unwrap();
        self.wait_for_faults();
        socket.send(&query(2, "a.example")).unwrap();
        assert_eq!(receive(&socket), (2, 0));
    }

    fn ask_tcp(&self, name: &str) -> std::io::Result<u8> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(SOON))?;
        let query = query(9, name);
        stream.write_all(&[&(query.len() as u16).to_be_bytes()[..], &query].concat())?;
        let mut reply = [0; 14];
        stream.read_exact(&mut reply)?;
        Ok(reply[5] & 15)
    }

    fn wait_for_faults(&self) {
        let end = Instant::now() + SOON;
        while !self.shared.faults.all_happened() {
            assert!(Instant::now() < end, "the defect was not met");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Shows that everything works, ends the server, and gives what it counted.
    fn end(mut self, faults: &[(Part, u64)]) -> Totals {
        assert_eq!(self.ask("a.example"), 0);
        assert_eq!(self.ask("fresh.example"), 0);
        assert_eq!(self.ask("again.and.again.example"), 0, "timers do what is due");
        assert_eq!(self.ask_tcp("a.example").unwrap(), 0);
        self.workers.stop(SOON);
        self.workers.take_threads().join();
        assert_eq!(self.shared.count_left(), 0);
        let counted: Vec<_> = self.shared.faults.by_part().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, faults);
        let counters = self.workers.counters();
        let totals = Totals::of(counters.iter().map(|counters| -> &Counters { counters }));
        assert_eq!(totals.received, totals.answered() + totals.refused() + totals.dropped(), "{:?}", totals.reasons);
        totals
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.upstream.done.store(true, Ordering::Relaxed);
        self.shared.stop(Duration::ZERO);
    }
}

/// Answers every question but the first of each that begins with "again", none that begins with "never", and those that
/// begin with "later" when it is later.
fn answer_all(upstream: &UdpSocket, told: &UpstreamState) {
    let mut seen = std::collections::HashSet::new();
    let mut bytes = [0; 1500];
    upstream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    while !told.done.load(Ordering::Relaxed) {
        let Ok((len, peer)) = upstream.recv_from(&mut bytes) else { continue };
        let name_end = 12 + bytes[12..len].iter().position(|&byte| byte == 0).unwrap() + 1;
        let question = bytes[12..name_end + 4].to_vec();
        // The case of its letters is drawn.
        let asked = question.to_ascii_lowercase();
        let is_first = seen.insert(asked.clone());
        let is_unanswered = asked.starts_with(b"\x05never")
            || (asked.starts_with(b"\x05again") && is_first)
            || (asked.starts_with(b"\x05later") && !told.is_later.load(Ordering::Relaxed));
        if is_unanswered {
            continue;
        }
        let record = [0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
        let answer = [&bytes[..2], &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0], &question, &record].concat();
        upstream.send_to(&answer, peer).unwrap();
    }
}

fn query(id: u16, name: &str) -> Vec<u8> {
    let mut bytes = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    bytes
}

/// ID and rcode of the next reply.
fn receive(socket: &UdpSocket) -> (u16, u8) {
    let mut bytes = [0; 1500];
    socket.recv(&mut bytes).expect("no reply");
    (u16::from_be_bytes([bytes[0], bytes[1]]), bytes[3] & 15)
}

const SERVFAIL: u8 = 2;

#[test]
fn a_panic_in_the_engine_costs_the_query_that_met_it() {
    let server = Server::start();
    // The guard of the group of queries is passed first, that of the engine then.
    server.shared.faults.inject(Part::Query, 1);
    server.lose("a.example");
    server.shared.faults.inject(Part::Query, 0);
    server.lose("a.example");
    server.shared.faults.inject(Part::Query, 0);
    assert!(server.ask_tcp("a.example").is_err() || server.shared.faults.all_happened());
    let totals = server.end(&[(Part::Query, 3)]);
    assert_eq!(totals.dropped(), 3);
}

#[test]
fn a_panic_when_an_answer_is_kept_fails_those_who_waited_for_it() {
    let server = Server::start();
    // The state machine is passed first.
    server.shared.faults.inject(Part::Answer, 1);
    assert_eq!(server.ask("x.example"), SERVFAIL);
    let totals = server.end(&[(Part::Answer, 1)]);
    assert_eq!(totals.dropped(), 0);
}

#[test]
fn a_question_whose_answer_met_a_panic_is_asked_again() {
    let server = Server::start();
    server.shared.faults.inject(Part::Answer, 0);
    assert_eq!(server.ask("x.example"), 0);
    let totals = server.end(&[(Part::Answer, 1)]);
    assert_eq!(totals.dropped(), 0);
}

#[test]
fn a_question_that_meets_a_panic_is_lost_and_what_waits_is_asked_again() {
    let server = Server::start();
    let waiting = server.client();
    waiting.send(&query(3, "later.example")).unwrap();
    let end = Instant::now() + SOON;
    while !server.shared.forwarding().has_waiters() {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    server.shared.faults.inject(Part::Forwarding, 0);
    server.lose("x.example");
    server.upstream.is_later.store(true, Ordering::Relaxed);
    assert_eq!(receive(&waiting), (3, 0));
    let totals = server.end(&[(Part::Forwarding, 1)]);
    assert_eq!(totals.dropped(), 1);
}

#[test]
fn a_listener_that_panics_listens_on() {
    let server = Server::start();
    server.shared.faults.inject(Part::Listener, 0);
    assert_eq!(server.ask("a.example"), 0, "its datagram still waits in the socket");
    server.shared.faults.inject(Part::Listener, 0);
    let _ = server.ask_tcp("a.example");
    server.wait_for_faults();
    server.end(&[(Part::Listener, 2)]);
}

#[test]
fn a_connection_that_panics_ends_alone() {
    let server = Server::start();
    server.shared.faults.inject(Part::Connection, 0);
    assert!(server.ask_tcp("a.example").is_err());
    server.end(&[(Part::Connection, 1)]);
}

#[test]
fn sockets_towards_upstreams_are_heard_after_a_panic() {
    let server = Server::start();
    server.shared.faults.inject(Part::Upstream, 0);
    assert_eq!(server.ask("x.example"), 0);
    server.wait_for_faults();
    server.end(&[(Part::Upstream, 1)]);
}

#[test]
fn timers_go_on_after_panics() {
    let server = Server::start();
    for _ in 0..4 {
        server.shared.faults.inject(Part::Timers, 0);
    }
    server.wait_for_faults();
    let counters = server.workers.counters();
    let (beats, end) = (counters[0].beats(), Instant::now() + SOON);
    while counters[0].beats() < beats + 2 {
        assert!(Instant::now() < end, "the worker does not say that it is alive");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.end(&[(Part::Timers, 4)]);
}

#[test]
fn every_thread_says_that_it_is_alive_while_nothing_comes() {
    let server = Server::start();
    let beats = || server.workers.counters().iter().map(|counters| counters.beats()).collect::<Vec<_>>();
    // More often than once: a sleep that is not limited again would be seen after the first.
    for _ in 0..3 {
        let (before, end) = (beats(), Instant::now() + SOON);
        while !before.iter().zip(beats()).all(|(before, now)| *before < now) {
            assert!(Instant::now() < end, "{before:?}, {:?}", beats());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    server.end(&[]);
}

#[test]
fn a_worker_that_fails_as_a_whole_serves_again_what_it_served() {
    let mut server = Server::start();
    server.shared.faults.inject(Part::Worker, 0);
    let first = Endpoint::new(EndpointKind::Dns, "127.0.0.1:0".parse().unwrap());
    let second = Endpoint::new(EndpointKind::Dns, "127.0.0.2:0".parse().unwrap());
    let new = server.workers.bind_new(&[second]).unwrap();
    let (serving, _) = server.workers.serve_only(&[first, second], new);
    server.wait_for_faults();
    let client = server.client();
    client.connect(serving[0].address).unwrap();
    client.send(&query(5, "a.example")).unwrap();
    assert_eq!(receive(&client), (5, 0));
    server.end(&[(Part::Worker, 1)]);
}

/// Says that something is over, at the end of a scope, however that comes.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn queries_that_come_many_at_a_time_are_the_event_loops_until_they_come_one_by_one() {
    let mut server = Server::start();
    let wait_until = |is_serving: bool| {
        let end = Instant::now() + SOON;
        while server.workers.orders[0].receivers[0].is_serving() != is_serving {
            assert!(Instant::now() < end, "whether a receiver serves is not {is_serving}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait_until(true);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let socket = server.client();
            while !is_over.load(Ordering::Relaxed) {
                // It does not matter whether the socket's buffer has room for it.
                let _ = socket.send(&query(1, "a.example"));
            }
        });
        let _over = Over(&is_over);
        wait_until(false);
    });
    assert_eq!(server.ask("x.example"), 0, "in the event loop or in the receiver");
    wait_until(true);
    assert_eq!(server.ask("y.example"), 0, "in the receiver again");
    // Its listener ends, and it is free.
    server.workers.serve_only(&[], NewListeners::bind(&[], 1, &mut Inherited::default()).unwrap());
    assert!(!server.workers.orders[0].receivers[0].is_serving());
    assert!(server.shared.faults.by_part().all(|(_, count)| count == 0));
}

#[test]
fn a_listener_that_no_receiver_is_free_for_is_the_event_loops() {
    let mut server = Server::start();
    let addresses = ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0", "127.0.0.4:0"];
    let endpoints = addresses.map(|address| Endpoint::new(EndpointKind::Dns, address.parse().unwrap()));
    let new = server.workers.bind_new(&endpoints).unwrap();
    let (serving, _) = server.workers.serve_only(&endpoints, new);
    assert!(server.workers.orders[0].receivers.iter().all(super::datagram_orders::ReceiverOrders::is_serving));
    let ask = |endpoint: &Endpoint| {
        let client = server.client();
        client.connect(endpoint.address).unwrap();
        client.send(&query(5, "x.example")).unwrap();
        assert_eq!(receive(&client), (5, 0), "{endpoint}");
    };
    serving.iter().for_each(ask);
    server.end(&[]);
}

#[test]
fn a_receiver_sleeps_on_in_a_socket_that_another_process_has_not_block() {
    let server = Server::start();
    let (sockets, _) = server.workers.sockets();
    let flags = || rustix::fs::fcntl_getfl(sockets[0]).unwrap();
    let wait_until = |is_blocking: bool| {
        let end = Instant::now() + SOON;
        while flags().contains(rustix::fs::OFlags::NONBLOCK) == is_blocking {
            assert!(Instant::now() < end);
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait_until(true);
    // As one does that takes it over.
    rustix::fs::fcntl_setfl(sockets[0], flags() | rustix::fs::OFlags::NONBLOCK).unwrap();
    assert_eq!(server.ask("a.example"), 0);
    wait_until(true);
    assert_eq!(server.ask("a.example"), 0);
    drop(sockets);
    server.end(&[]);
}

#[test]
fn what_still_waits_at_the_end_is_counted() {
    let mut server = Server::start();
    let client = server.client();
    for id in 0..5 {
        client.send(&query(id, "never.answered.example")).unwrap();
    }
    let (counters, end) = (server.workers.counters(), Instant::now() + SOON);
    let totals = || Totals::of(counters.iter().map(|counters| -> &Counters { counters }));
    while totals().received < 5 {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    server.workers.stop(Duration::ZERO);
    server.workers.take_threads().join();
    assert_eq!(server.shared.count_left(), 5);
    let totals = totals();
    assert_eq!((totals.received, totals.dropped()), (5, 5));
    assert_eq!(totals.named().collect::<Vec<_>>(), [("shutdown", 5)]);
}
