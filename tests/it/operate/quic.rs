//! DNS over QUIC: the same replies as over TCP, what the protocol demands, and clients that do not behave.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quinn::{ConnectionError, ReadError, ReadToEndError, VarInt};
use tokio::time::{sleep, timeout};

use super::encrypted::{MANY, TLS, query_of, questions, upstream};
use super::quic_client::{
    EXCESSIVE_LOAD, NO_ERROR, PROTOCOL_ERROR, REQUEST_CANCELLED, ask, closed_with, connect, endpoint, exchange, framed,
    run,
};
use super::server::{AtTheEnd, RECORDS, SOON, Scratch, Server, named_port, query, settings};
use super::tls_client::{NAME, Pair, connect_from};

const LISTEN: &str =
    "[listen]\ndns = [\"127.0.0.1:0\"]\nquic = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\ndrain = \"0s\"\n";
const HERE: [u8; 4] = [127, 0, 0, 1];

struct Quic {
    server: Server,
    pair: Pair,
    address: SocketAddr,
}

impl Quic {
    fn start(more: &str, records: &str) -> Self {
        let (dir, pair) = (Arc::new(Scratch::new()), Pair::new(2090));
        dir.write("records/r.toml", records);
        dir.write("pldns.toml", &settings(&format!("{LISTEN}{more}{TLS}")));
        pair.write(&dir);
        Self::start_in(dir, pair)
    }

    fn start_in(dir: Arc<Scratch>, pair: Pair) -> Self {
        let server = Server::start_in(dir, |_| {});
        let address = server.address("quic");
        Self { server, pair, address }
    }

    fn metric(&self, line: &str) -> f64 {
        let page = self.server.get("admin", "/metrics").body;
        let value = page.lines().find_map(|known| known.strip_prefix(line));
        value.unwrap_or_else(|| panic!("{line} in {page}")).trim().parse().unwrap()
    }

    /// Waits until there are so many connections.
    fn wait_for_connections(&self, count: f64) {
        let end = Instant::now() + SOON;
        while self.metric("pldns_connections ") != count {
            assert!(Instant::now() < end, "{} connections", self.metric("pldns_connections "));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    async fn connect(&self) -> quinn::Connection {
        connect(HERE, self.address, &self.pair).await.unwrap()
    }
}

/// Settings by which everything is asked of an upstream.
fn forward_to(upstream: SocketAddr) -> String {
    format!("[[forward]]\nzone = \".\"\nupstreams = [\"{upstream}\"]\n")
}

fn is_answer(reply: &[u8]) -> bool {
    reply.ends_with(&[10, 0, 0, 1])
}

#[test]
fn every_question_gets_the_bytes_that_it_gets_over_tcp() {
    let long = format!(
        "[[record]]\nname = \"long.example\"\ntype = \"TXT\"\ndata = \"\"\"{}\"\"\"\n",
        "\"0123456789abcdef\" ".repeat(2000).trim()
    );
    let zone = "[[zone]]\nname = \"closed.example\"\nmissing = \"nxdomain\"\n";
    let quic = Quic::start(&format!("{zone}{}", forward_to(upstream())), &format!("{MANY}{long}"));
    let mut questions = questions();
    questions.push(query_of(0, "long.example", 16, None));
    let mut tcp = connect_from(HERE, quic.server.dns);
    let by_quic = run(async {
        let connection = quic.connect().await;
        let mut replies = Vec::new();
        for question in &mut questions {
            // The ID is the one that there may be.
            question[..2].fill(0);
            replies.push(ask(&connection, question).await.unwrap());
        }
        replies
    });
    for (question, by_quic) in questions.iter().zip(&by_quic) {
        assert_eq!(*by_quic, super::tls_client::ask(&mut tcp, question).unwrap(), "{question:?}");
    }
    assert!(by_quic.last().unwrap().len() > 30_000);
    let received = quic.metric("pldns_queries_received_total{transport=\"quic\"}");
    assert_eq!(received, questions.len() as f64);
    drop(tcp);
    quic.server.stop();
}

#[test]
fn a_hundred_queries_at_once_are_answered_as_they_come() {
    let quic = Quic::start(&forward_to(upstream()), RECORDS);
    run(async {
        let connection = quic.connect().await;
        let asking: Vec<_> = (0..100)
            .map(|number| {
                let connection = connection.clone();
                let name = if number % 2 == 0 { "a.example".to_owned() } else { format!("n{number}.example") };
                tokio::spawn(async move { ask(&connection, &query(0, &name)).await.unwrap() })
            })
            .collect();
        for (number, asking) in asking.into_iter().enumerate() {
            let reply = asking.await.unwrap();
            assert!(reply.ends_with(if number % 2 == 0 { &[10, 0, 0, 1] } else { &[192, 0, 2, 1] }), "{number}");
        }
    });
    quic.server.stop();
}

#[test]
fn replies_are_padded_where_the_query_was() {
    let quic = Quic::start("", RECORDS);
    let padded = [&[0, 12, 0, 20][..], &[0; 20]].concat();
    run(async {
        let connection = quic.connect().await;
        let reply = ask(&connection, &query_of(0, "a.example", 1, Some(&padded))).await.unwrap();
        assert_eq!(reply.len(), 468);
        assert!(ask(&connection, &query_of(0, "a.example", 1, Some(&[]))).await.unwrap().len() < 100);
    });
    quic.server.stop();
}

#[test]
fn what_the_protocol_forbids_closes_the_connection() {
    let quic = Quic::start("", RECORDS);
    let good = framed(&query(0, "a.example"));
    let mut response = query(0, "a.example");
    response[2] |= 0x80;
    let cases = [
        ("an ID", framed(&query(1, "a.example"))),
        ("the option for TCP", framed(&query_of(0, "a.example", 1, Some(&[0, 11, 0, 0])))),
        ("nothing", vec![]),
        ("half a length", vec![0]),
        ("no header", framed(&[0; 11])),
        ("an end too soon", good[..good.len() - 1].to_vec()),
        ("two messages", [&good[..], &good].concat()),
        ("too much", vec![0xff; 65_538]),
        ("a response", framed(&response)),
    ];
    run(async {
        for (what, bytes) in &cases {
            let connection = quic.connect().await;
            assert!(is_answer(&ask(&connection, &query(0, "a.example")).await.unwrap()));
            assert!(exchange(&connection, bytes).await.is_err(), "{what}");
            assert_eq!(closed_with(&connection).await, PROTOCOL_ERROR, "{what}");
        }
    });
    quic.server.stop();
}

#[test]
fn a_client_of_another_protocol_makes_no_connection() {
    let quic = Quic::start("", RECORDS);
    run(async {
        for alpn in [&b"h3"[..], b"dot"] {
            let outcome = endpoint(HERE, &quic.pair, alpn).connect(quic.address, NAME).unwrap().await;
            assert!(matches!(outcome, Err(ConnectionError::ConnectionClosed(_))), "{outcome:?}");
        }
        let other = Pair::new(2090);
        assert!(connect(HERE, quic.address, &other).await.is_err(), "its certificate is another one");
    });
    quic.server.stop();
}

#[test]
fn who_is_not_allowed_gets_no_word() {
    let quic = Quic::start("[access]\nallow = [\"127.0.0.1/32\"]\n", RECORDS);
    run(async {
        let stranger = connect([127, 0, 3, 1], quic.address, &quic.pair);
        assert!(timeout(Duration::from_millis(700), stranger).await.is_err());
        assert!(is_answer(&ask(&quic.connect().await, &query(0, "a.example")).await.unwrap()));
    });
    assert!(quic.metric("pldns_connections_refused_total{reason=\"not_allowed\"}") >= 1.0);
    quic.server.stop();
}

#[test]
fn an_address_that_has_not_shown_itself_gets_a_retry_and_no_place() {
    let quic = Quic::start("", RECORDS);
    let (first, answers) = first_packets(&quic, 200);
    assert!(answers > 0);
    for packet in first {
        // Long header, type Retry (RFC 9000 §17.2.5).
        assert_eq!(packet[0] & 0xf0, 0xf0, "{packet:?}");
        assert!(packet.len() < 200, "less than a tenth of what was sent");
    }
    assert_eq!(quic.metric("pldns_connections "), 0.0);
    quic.server.stop();
}

/// Sends the first packet of a client again and again, from one address after another that says nothing more.
fn first_packets(quic: &Quic, count: u8) -> (Vec<Vec<u8>>, usize) {
    let trap = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = trap.local_addr().unwrap();
    let mut initial = [0; 1500];
    let len = run(async {
        let connecting = endpoint(HERE, &quic.pair, b"doq").connect(address, NAME).unwrap();
        let _ = timeout(Duration::from_millis(100), connecting).await;
        trap.recv(&mut initial).unwrap()
    });
    let mut answers = Vec::new();
    for number in 0..count {
        let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 9, number], 0))).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.send_to(&initial[..len], quic.address).unwrap();
        let mut bytes = [0; 1500];
        let len = socket.recv(&mut bytes).unwrap();
        answers.push(bytes[..len].to_vec());
    }
    let count = answers.len();
    (answers, count)
}

/// Passes datagrams on between one client and the server; from the client no more than `most`.
fn gate(to: SocketAddr, most: usize) -> SocketAddr {
    let (outside, inside) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    inside.connect(to).unwrap();
    let address = outside.local_addr().unwrap();
    let (back, reader) = (outside.try_clone().unwrap(), inside.try_clone().unwrap());
    std::thread::spawn(move || {
        let mut bytes = [0; 2000];
        let mut passed = 0;
        let mut back = Some(back);
        while let Ok((len, client)) = outside.recv_from(&mut bytes) {
            if let Some(back) = back.take() {
                let reader = reader.try_clone().unwrap();
                std::thread::spawn(move || {
                    let mut bytes = [0; 2000];
                    while let Ok(len) = reader.recv(&mut bytes) {
                        let _ = back.send_to(&bytes[..len], client);
                    }
                });
            }
            passed += 1;
            if passed <= most {
                let _ = inside.send(&bytes[..len]);
            }
        }
    });
    address
}

#[test]
fn a_handshake_that_does_not_end_gives_its_place_back() {
    let quic = Quic::start("", RECORDS);
    // The first packet, the same with the token; nothing of what follows.
    let gate = gate(quic.address, 2);
    let (pair, begun) = (quic.pair.clone(), Instant::now());
    let client = std::thread::spawn(move || {
        run(async {
            // It may take the connection for made: what it says last is what the server never hears.
            let connection = connect(HERE, gate, &pair).await;
            let _ = timeout(Duration::from_secs(6), async { connection.unwrap().closed().await }).await;
        });
    });
    quic.wait_for_connections(1.0);
    quic.wait_for_connections(0.0);
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(2500) && took < Duration::from_secs(6), "{took:?}");
    client.join().unwrap();
    quic.server.stop();
}

#[test]
fn places_are_shared_with_the_other_transports() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let quic = Quic::start(&format!("connections = 64\n{}", forward_to(silent.local_addr().unwrap())), RECORDS);
    run(async {
        let mut held = Vec::new();
        for _ in 0..64 {
            let connection = connect([127, 0, 1, 1], quic.address, &quic.pair).await.unwrap();
            // One that waits for an answer is not idle.
            let asking = connection.clone();
            tokio::spawn(async move { ask(&asking, &query(0, "w.example")).await });
            held.push(connection);
        }
        // Who holds all of them gets no other, and is told.
        let more = connect([127, 0, 1, 1], quic.address, &quic.pair).await;
        assert!(matches!(more, Err(ConnectionError::ConnectionClosed(_))), "{more:?}");
        // Who has none gets the oldest of the largest holder.
        let newcomer = connect([127, 0, 2, 1], quic.address, &quic.pair).await.unwrap();
        assert!(is_answer(&ask(&newcomer, &query(0, "a.example")).await.unwrap()));
        held[0].closed().await;
        assert!(held[1].close_reason().is_none());
    });
    // By TCP as well: a place of QUIC's is taken for it.
    let mut tcp = connect_from([127, 0, 4, 1], quic.server.dns);
    assert!(is_answer(&super::tls_client::ask(&mut tcp, &query(1, "a.example")).unwrap()));
    assert!(quic.metric("pldns_connections_refused_total{reason=\"full\"}") >= 1.0);
    drop(tcp);
    quic.server.stop();
}

#[test]
fn a_hundred_streams_and_no_more_are_open_at_once() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let quic = Quic::start(&forward_to(silent.local_addr().unwrap()), RECORDS);
    run(async {
        let connection = quic.connect().await;
        let mut open = Vec::new();
        for _ in 0..100 {
            open.push(timeout(SOON, connection.open_bi()).await.unwrap().unwrap());
        }
        assert!(timeout(Duration::from_millis(300), connection.open_bi()).await.is_err());
        assert!(timeout(Duration::from_millis(100), connection.open_uni()).await.is_err(), "nobody reads these");
        // Places that are free again are told of by the dozen.
        for (mut send, mut receive) in open.drain(80..) {
            send.write_all(&framed(&query(0, "a.example"))).await.unwrap();
            send.finish().unwrap();
            assert!(is_answer(&receive.read_to_end(1000).await.unwrap()));
        }
        timeout(SOON, connection.open_bi()).await.expect("places are free").unwrap();
    });
    quic.server.stop();
}

#[test]
fn a_connection_that_takes_its_queries_back_is_closed() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let quic = Quic::start(&forward_to(silent.local_addr().unwrap()), RECORDS);
    run(async {
        let connection = quic.connect().await;
        for number in 0..2000_u32 {
            let Ok((mut send, mut receive)) = connection.open_bi().await else { break };
            let bytes = framed(&query(0, &format!("w{number}.example")));
            // Half of them are not even whole.
            let len = if number % 2 == 0 { bytes.len() } else { bytes.len() - 1 };
            if send.write_all(&bytes[..len]).await.is_err() {
                break;
            }
            let _ = send.reset(VarInt::from_u32(REQUEST_CANCELLED));
            let _ = receive.stop(VarInt::from_u32(REQUEST_CANCELLED));
        }
        assert_eq!(closed_with(&connection).await, EXCESSIVE_LOAD);
        assert!(is_answer(&ask(&quic.connect().await, &query(0, "a.example")).await.unwrap()));
    });
    quic.server.stop();
}

#[test]
fn a_slow_query_costs_its_stream_and_silence_the_connection() {
    let quic = Quic::start("", RECORDS);
    run(async {
        let connection = quic.connect().await;
        let begun = Instant::now();
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(&[0]).await.unwrap();
        let outcome = receive.read_to_end(1000).await.unwrap_err();
        let ReadToEndError::Read(ReadError::Reset(code)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(code, VarInt::from_u32(REQUEST_CANCELLED));
        let took = begun.elapsed();
        assert!(took > Duration::from_millis(2900) && took < Duration::from_secs(6), "{took:?}");
        assert!(is_answer(&ask(&connection, &query(0, "a.example")).await.unwrap()), "the connection stays");
        let begun = Instant::now();
        // The client's pings say nothing.
        assert_eq!(closed_with(&connection).await, NO_ERROR);
        let took = begun.elapsed();
        assert!(took > Duration::from_secs(9) && took < Duration::from_secs(13), "{took:?}");
    });
    quic.server.stop();
}

#[test]
fn a_new_certificate_is_shown_and_open_connections_stay() {
    let mut quic = Quic::start("", RECORDS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let open = runtime.block_on(async { quic.connect().await });
    let (old, new) = (quic.pair.clone(), Pair::new(2080));
    new.write(&quic.server.dir);
    quic.server.wait_for("reloaded");
    runtime.block_on(async {
        assert!(connect(HERE, quic.address, &old).await.is_err());
        assert!(is_answer(
            &ask(&connect(HERE, quic.address, &new).await.unwrap(), &query(0, "a.example")).await.unwrap()
        ));
        assert!(is_answer(&ask(&open, &query(0, "a.example")).await.unwrap()));
    });
    quic.server.stop();
}

#[test]
fn a_reload_opens_and_closes_the_listener() {
    let mut quic = Quic::start("", RECORDS);
    let with = std::fs::read_to_string(quic.server.dir.path().join("pldns.toml")).unwrap();
    let with = with.replace("quic = [\"127.0.0.1:0\"]", &format!("quic = [\"{}\"]", quic.address));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let open = runtime.block_on(async { quic.connect().await });
    quic.server.dir.write("pldns.toml", &with.replace(&format!("\"{}\"", quic.address), ""));
    quic.server.wait_for("reloaded");
    assert_eq!(runtime.block_on(closed_with(&open)), NO_ERROR);
    // As soon as the last connection has ended, the address is free again.
    let end = Instant::now() + SOON;
    while UdpSocket::bind(quic.address).is_err() {
        assert!(Instant::now() < end, "it is still taken");
        std::thread::sleep(Duration::from_millis(20));
    }
    quic.server.dir.write("pldns.toml", &with);
    quic.server.wait_for("reloaded");
    runtime.block_on(async {
        assert!(is_answer(&ask(&quic.connect().await, &query(0, "a.example")).await.unwrap()));
    });
    quic.server.stop();
}

#[test]
fn what_is_in_flight_is_answered_at_the_end() {
    let slow = UdpSocket::bind("127.0.0.1:0").unwrap();
    slow.set_read_timeout(Some(SOON)).unwrap();
    let quic = Quic::start(&forward_to(slow.local_addr().unwrap()), RECORDS);
    run(async {
        let (connection, idle) = (quic.connect().await, quic.connect().await);
        let asking = {
            let connection = connection.clone();
            tokio::spawn(async move { ask(&connection, &query(0, "slow.example")).await })
        };
        let (slow, bytes, peer) = tokio::task::spawn_blocking(move || {
            let mut bytes = [0; 512];
            loop {
                let (_, peer) = slow.recv_from(&mut bytes).unwrap();
                if bytes[12..].starts_with(b"\x04slow") {
                    return (slow, bytes, peer);
                }
            }
        })
        .await
        .unwrap();
        quic.server.signal(15);
        let mut server = quic.server;
        let ending = tokio::task::spawn_blocking(move || {
            server.wait_for("shutting down");
            let end = 12 + 14 + 4;
            let record = [0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
            let answer = [&bytes[..2], &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0], &bytes[12..end], &record].concat();
            std::thread::sleep(Duration::from_millis(600));
            slow.send_to(&answer, peer).unwrap();
            let stopped = server.wait_for("stopped");
            assert_eq!(stopped["answered"], stopped["received"], "{stopped}");
            assert!(server.wait_exit().success());
        });
        assert_eq!(closed_with(&idle).await, NO_ERROR);
        assert!(!asking.is_finished(), "one that is idle does not wait for the others");
        assert!(asking.await.unwrap().unwrap().ends_with(&[192, 0, 2, 1]));
        assert_eq!(closed_with(&connection).await, NO_ERROR);
        ending.await.unwrap();
    });
}

/// Whether a connection was closed with [`NO_ERROR`]; before the server's handshake has ended that is another word (RFC 9000
/// §10.2.3).
fn is_closed_in_order(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::ApplicationClosed(close) => close.error_code == VarInt::from_u32(NO_ERROR),
        ConnectionError::ConnectionClosed(close) => close.error_code == quinn::TransportErrorCode::APPLICATION_ERROR,
        _ => false,
    }
}

/// Asks until it is done, and counts; gives how long the slowest answer took. A query whose connection ended in good order goes by
/// another.
async fn ask_on(to: SocketAddr, pair: &Pair, keeps: bool, done: &AtomicBool, asked: &AtomicU64) -> Duration {
    let (mut open, mut slowest) = (None, Duration::ZERO);
    while !done.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let connection = loop {
            let connection = match open.take() {
                Some(connection) => Ok(connection),
                None => connect(HERE, to, pair).await,
            };
            let error = match connection {
                Ok(connection) => match ask(&connection, &query(0, "a.example")).await {
                    Ok(reply) => {
                        assert!(is_answer(&reply));
                        break connection;
                    }
                    Err(_) => connection.closed().await,
                },
                Err(error) => error,
            };
            assert!(is_closed_in_order(&error), "{error:?}");
        };
        open = keeps.then_some(connection);
        slowest = slowest.max(begun.elapsed());
        asked.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(1)).await;
    }
    slowest
}

#[test]
fn the_next_process_takes_the_listener_over() {
    let (dir, pair) = (Arc::new(Scratch::new()), Pair::new(2090));
    dir.write("records/r.toml", RECORDS);
    pair.write(&dir);
    let [dns, address] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], named_port())));
    let text = format!(
        "[listen]\ndns = [\"{dns}\"]\nquic = [\"{address}\"]\nadmin = \"\"\ndrain = \"0s\"\n\
         [process]\nworkers = 2\nhandover = \"{}/run.sock\"\n{TLS}",
        dir.path().display()
    );
    dir.write("pldns.toml", &settings(&text));
    let mut first = Quic::start_in(dir.clone(), pair.clone());
    let (done, asked) = (AtomicBool::new(false), [AtomicU64::new(0), AtomicU64::new(0)]);
    std::thread::scope(|scope| {
        let _end = AtTheEnd(&done);
        let (pair, done) = (&pair, &done);
        let asked: &[AtomicU64; 2] = &asked;
        // One client keeps its connection as long as it may, another makes one for each query.
        let askers =
            [0, 1].map(|number| scope.spawn(move || run(ask_on(address, pair, number == 0, done, &asked[number]))));
        for _ in 0..3 {
            let next = Quic::start_in(dir.clone(), pair.clone());
            let stopped = first.server.wait_for("stopped");
            assert!(first.server.wait_exit().success());
            assert_eq!(stopped["received"], stopped["answered"], "{stopped}");
            first = next;
            let end = Instant::now() + SOON;
            for (asked, before) in asked.iter().map(|asked| (asked, asked.load(Ordering::Relaxed))) {
                while asked.load(Ordering::Relaxed) < before + 20 {
                    assert!(Instant::now() < end, "nobody answers");
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        done.store(true, Ordering::Relaxed);
        for asker in askers {
            let slowest = asker.join().unwrap();
            assert!(slowest < Duration::from_secs(3), "{slowest:?}");
        }
        first.server.stop();
    });
}

#[test]
fn listeners_for_tls_and_quic_share_an_address() {
    let (dir, pair) = (Arc::new(Scratch::new()), Pair::new(2090));
    let port = named_port();
    dir.write("records/r.toml", RECORDS);
    pair.write(&dir);
    let tls = format!("tls = [\"127.0.0.1:{port}\"]\nquic = [\"127.0.0.1:{port}\"]");
    dir.write("pldns.toml", &settings(&format!("{}{TLS}", LISTEN.replace("quic = [\"127.0.0.1:0\"]", &tls))));
    let quic = Quic::start_in(dir, pair);
    assert_eq!(quic.server.address("tls"), quic.address);
    let by_tls = quic.pair.client(&[b"dot"], &[&tokio_rustls::rustls::version::TLS13]);
    let mut dot = super::tls_client::connect(quic.address, &by_tls).unwrap();
    assert!(is_answer(&super::tls_client::ask(&mut dot, &query(1, "a.example")).unwrap()));
    run(async { assert!(is_answer(&ask(&quic.connect().await, &query(0, "a.example")).await.unwrap())) });
    drop(dot);
    quic.server.stop();
}

#[test]
fn a_connection_takes_no_more_memory_than_is_counted() {
    const COUNT: usize = 300;
    let quic = Quic::start("", RECORDS);
    let resident = || quic.metric("process_resident_memory_bytes ");
    run(async {
        let mut held = Vec::new();
        let idle = resident();
        for _ in 0..COUNT {
            let connection = quic.connect().await;
            assert!(is_answer(&ask(&connection, &query(0, "a.example")).await.unwrap()));
            held.push(connection);
        }
        let each = (resident() - idle) / COUNT as f64;
        assert!(each < 132.0 * 1024.0, "{each} bytes a connection");
        drop(held);
        // As much as one can have the server hold: all of its streams, and all that they may carry together.
        let (before, mut open) = (resident(), Vec::new());
        for _ in 0..50 {
            let connection = quic.connect().await;
            for _ in 0..100 {
                let (mut send, receive) = timeout(SOON, connection.open_bi()).await.unwrap().unwrap();
                send.write_all(&[0; 650]).await.unwrap();
                open.push((send, receive));
            }
        }
        let each = (resident() - before) / 50.0;
        assert!(each < (132.0 + 100.0 * 8.0) * 1024.0, "{each} bytes a connection");
    });
    quic.server.stop();
}

#[test]
fn the_socket_that_systemd_kept_is_served_with_what_waits_in_it() {
    let (dir, pair) = (Arc::new(Scratch::new()), Pair::new(2090));
    dir.write("records/r.toml", RECORDS);
    pair.write(&dir);
    let kept = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = kept.local_addr().unwrap();
    let listen = LISTEN.replace("quic = [\"127.0.0.1:0\"]", &format!("quic = [\"{address}\"]"));
    dir.write("pldns.toml", &settings(&format!("{listen}{TLS}")));
    // Its first packet is there before the server is.
    let client = std::thread::spawn({
        let pair = pair.clone();
        move || {
            run(async {
                let connection = connect(HERE, address, &pair).await.unwrap();
                ask(&connection, &query(0, "a.example")).await.unwrap()
            })
        }
    });
    kept.set_read_timeout(Some(SOON)).unwrap();
    kept.peek(&mut [0; 1]).unwrap();
    let name = format!("pldns-{address}").replace(':', "_");
    let script = format!("exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES={name} exec \"$@\"");
    let mut child = std::process::Command::new("sh")
        .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_pldns"), "serve", "-c"])
        .arg(dir.path().join("pldns.toml"))
        .stdin(std::process::Stdio::from(std::os::fd::OwnedFd::from(kept)))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    assert!(is_answer(&client.join().unwrap()));
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}
