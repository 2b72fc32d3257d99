//! DNS over TLS and DNS over HTTPS: the same replies as over UDP and TCP, certificates that change, and clients that do
//! not behave.

use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::server::{AtTheEnd, RECORDS, SOON, Scratch, Server, ask_until, named_port, query, settings};
use super::tls_client::{NAME, Pair, TlsStream, ask, connect, connect_from, get, http1, http2, post, request};

const LISTEN: &str = "[listen]\ndns = [\"127.0.0.1:0\"]\ntls = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]\n\
                      admin = \"127.0.0.1:0\"\nhealth = \"127.0.0.1:0\"\ndrain = \"0s\"\n";
pub(crate) const TLS: &str = "[tls]\ncertificate = \"chain.pem\"\nprivate_key = \"key.pem\"\n";

struct Encrypted {
    server: Server,
    pair: Pair,
    tls: SocketAddr,
    https: SocketAddr,
}

impl Encrypted {
    fn start(more: &str, records: &str) -> Self {
        let (dir, pair) = (Arc::new(Scratch::new()), Pair::new(2090));
        dir.write("records/r.toml", records);
        dir.write("pldns.toml", &settings(&format!("{LISTEN}{more}{TLS}")));
        pair.write(&dir);
        Self::start_in(dir, pair)
    }

    fn start_in(dir: Arc<Scratch>, pair: Pair) -> Self {
        let server = Server::start_in(dir, |_| {});
        let (tls, https) = (server.address("tls"), server.address("https"));
        Self { server, pair, tls, https }
    }

    fn dot(&self) -> TlsStream {
        connect(self.tls, &self.pair.client(&[b"dot"], &[&TLS13])).unwrap()
    }

    fn http1(&self) -> TlsStream {
        connect(self.https, &self.pair.client(&[b"http/1.1"], &[&TLS13])).unwrap()
    }

    fn metric(&self, line: &str) -> f64 {
        let page = self.server.get("admin", "/metrics").body;
        let value = page.lines().find_map(|known| known.strip_prefix(line));
        value.unwrap_or_else(|| panic!("{line} in {page}")).trim().parse().unwrap()
    }
}

/// A query with another type, and with an OPT record whose options these are.
pub(crate) fn query_of(id: u16, name: &str, rtype: u16, options: Option<&[u8]>) -> Vec<u8> {
    let mut message = query(id, name);
    let end = message.len();
    message[end - 4..end - 2].copy_from_slice(&rtype.to_be_bytes());
    if let Some(options) = options {
        message[11] = 1;
        message.extend_from_slice(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0]);
        message.extend_from_slice(&(options.len() as u16).to_be_bytes());
        message.extend_from_slice(options);
    }
    message
}

pub(crate) const MANY: &str = r#"
[[record]]
name = "a.example"
type = "A"
data = "10.0.0.1"
[[record]]
name = "a.example"
type = "TXT"
data = "\"one text\""
[[record]]
name = "alias.example"
type = "CNAME"
data = "a.example."
[[record]]
name = "*.wild.example"
type = "A"
data = "10.0.0.2"
[[record]]
name = "six.example"
type = "AAAA"
data = "fd00::1"
[[record]]
name = "x.closed.example"
type = "A"
data = "10.0.0.3"
"#;

/// Questions of every kind: what the table has and has not, names answered here, what is asked upstream, what is refused.
pub(crate) fn questions() -> Vec<Vec<u8>> {
    let names = [
        "a.example",
        "A.eXample",
        "alias.example",
        "any.wild.example",
        "six.example",
        "x.closed.example",
        "no.closed.example",
        "localhost",
        "1.0.0.10.in-addr.arpa",
        "up.example",
        "nx.invalid",
    ];
    let mut questions = Vec::new();
    for name in names {
        for rtype in [1, 28, 16, 5, 255] {
            questions.push(query_of(1, name, rtype, None));
            questions.push(query_of(2, name, rtype, Some(&[])));
        }
    }
    let plain = query(3, "a.example");
    let mut changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut message = plain.clone();
        change(&mut message);
        questions.push(message);
    };
    changed(&|message| message[2] = 0x29); // UPDATE
    changed(&|message| message[2] = 0); // no recursion
    changed(&|message| message[5] = 0); // no question
    changed(&|message| message[5] = 2); // two
    changed(&|message| *message.last_mut().unwrap() = 3); // class CH
    changed(&|message| message.push(0)); // a byte too much
    changed(&|message| message.truncate(15));
    questions.push(query_of(4, "a.example", 252, None)); // AXFR
    questions.push(
        [&query_of(5, "a.example", 1, None)[..11], &[1], &plain[12..], &[0, 0, 41, 4, 208, 0, 1, 0, 0, 0, 0]].concat(),
    ); // version 1
    questions
}

/// An upstream that answers everything with 192.0.2.1 and a TTL of 0, so that nothing is counted down.
pub(crate) fn upstream() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut bytes = [0; 1500];
        while let Ok((_, peer)) = socket.recv_from(&mut bytes) {
            let end = 12 + bytes[12..].iter().position(|&byte| byte == 0).unwrap() + 5;
            let record = [0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 1];
            let has_a = bytes[end - 3] == 1;
            let counts = [0x81, 0x80, 0, 1, 0, u8::from(has_a), 0, 0, 0, 0];
            let answer = [&bytes[..2], &counts, &bytes[12..end], if has_a { &record } else { &[] }].concat();
            let _ = socket.send_to(&answer, peer);
        }
    });
    address
}

#[test]
fn every_transport_gives_the_same_replies() {
    let zone = "[[zone]]\nname = \"closed.example\"\nmissing = \"nxdomain\"\n";
    let forward = format!("{zone}[[forward]]\nzone = \".\"\nupstreams = [\"{}\"]\n", upstream());
    let encrypted = Encrypted::start(&forward, MANY);
    let udp = super::server::client(encrypted.server.dns);
    let mut tcp = connect_from([127, 0, 0, 1], encrypted.server.dns);
    let (mut dot, mut h1) = (encrypted.dot(), encrypted.http1());
    let questions = questions();
    assert!(questions.len() > 100);
    let by_http2 = http2(encrypted.https, &encrypted.pair.client(&[b"h2"], &[&TLS13]), |mut send| {
        let questions = questions.clone();
        async move {
            let mut replies = Vec::new();
            for question in &questions {
                replies.push(request(&mut send, "POST", "/dns-query", Some(question)).await.unwrap());
            }
            replies
        }
    });
    for (question, h2) in questions.iter().zip(by_http2) {
        udp.send(question).unwrap();
        let mut bytes = [0; 1500];
        let len = udp.recv(&mut bytes).unwrap_or_else(|_| panic!("no reply to {question:?}"));
        let expected = &bytes[..len];
        assert_eq!(ask(&mut tcp, question).unwrap(), expected, "tcp {question:?}");
        assert_eq!(ask(&mut dot, question).unwrap(), expected, "tls {question:?}");
        for request in [get(question), post(question)] {
            let response = http1(&mut h1, &request).unwrap();
            assert_eq!((response.status, &response.body[..]), (200, expected), "https {question:?}");
            assert_eq!(response.header("content-type"), Some("application/dns-message"));
        }
        assert_eq!((h2.status, &h2.body[..]), (200, expected), "http/2 {question:?}");
    }
    let asked = questions.len() as f64;
    for (transport, times) in [("udp", 1.0), ("tcp", 1.0), ("tls", 1.0), ("https", 3.0)] {
        let line = format!("pldns_queries_received_total{{transport=\"{transport}\"}}");
        assert_eq!(encrypted.metric(&line), asked * times, "{transport}");
    }
    drop((tcp, dot, h1));
    encrypted.server.stop();
}

#[test]
fn both_versions_of_tls_and_clients_without_alpn() {
    let encrypted = Encrypted::start("", RECORDS);
    for version in [&TLS12, &TLS13] {
        for alpn in [&[b"dot" as &[u8]][..], &[]] {
            let mut stream = connect(encrypted.tls, &encrypted.pair.client(alpn, &[version])).unwrap();
            assert!(ask(&mut stream, &query(1, "a.example")).unwrap().ends_with(&[10, 0, 0, 1]));
        }
    }
    assert!(
        connect(encrypted.tls, &encrypted.pair.client(&[b"h2"], &[&TLS13])).is_err(),
        "a client of another protocol"
    );
    encrypted.server.stop();
}

#[test]
fn replies_are_padded_where_the_query_was() {
    let forward = format!("[[forward]]\nzone = \".\"\nupstreams = [\"{}\"]\n", upstream());
    let encrypted = Encrypted::start(&forward, RECORDS);
    let padded = [&[0, 12, 0, 20][..], &[0; 20]].concat();
    let mut dot = encrypted.dot();
    for name in ["a.example", "up.example", "no.invalid"] {
        let (with, without) = (query_of(1, name, 1, Some(&padded)), query_of(1, name, 1, Some(&[])));
        let plain = ask(&mut dot, &without).unwrap();
        for reply in [ask(&mut dot, &with).unwrap(), http1(&mut encrypted.http1(), &post(&with)).unwrap().body] {
            assert_eq!(reply.len(), 468, "{name}");
            // Apart from the option and the length of the options it is the same reply.
            let opt = plain.len() - usize::from(u16::from_be_bytes(reply_options_len(&plain))) - 2;
            assert_eq!(reply[..opt], plain[..opt], "{name}");
            assert!(reply[plain.len() + 4..].iter().all(|&byte| byte == 0));
        }
        let mut tcp = connect_from([127, 0, 0, 1], encrypted.server.dns);
        assert_eq!(ask(&mut tcp, &with).unwrap(), plain, "not where everybody can read it");
    }
    // A query too long to be kept whole while it waits.
    let long = [&[0, 12, 1, 44][..], &[0; 300]].concat();
    assert_eq!(ask(&mut dot, &query_of(1, "fresh.example", 1, Some(&long))).unwrap().len(), 468);
    drop(dot);
    encrypted.server.stop();
}

/// The length of the options of a reply that has none, or one extended error: they end the message.
fn reply_options_len(reply: &[u8]) -> [u8; 2] {
    if reply.ends_with(&[0, 0]) && reply[reply.len() - 11..].starts_with(&[0, 0, 41]) { [0, 0] } else { [0, 6] }
}

#[test]
fn requests_that_are_none_get_their_status() {
    let encrypted = Encrypted::start("", RECORDS);
    let query = query(0, "a.example");
    let dns = data_encoding::BASE64URL_NOPAD.encode(&query);
    let head = |line: &str, more: &str| format!("{line} HTTP/1.1\r\nHost: {NAME}\r\n{more}\r\n").into_bytes();
    let long = "a".repeat(5000);
    for (request, status) in [
        (head("GET /", ""), 404),
        (head("GET /dns-query", ""), 400),
        (head("GET /dns-query?dns=", ""), 400),
        (head("GET /dns-query?dns=!!!!", ""), 400),
        (head(&format!("GET /dns-query?dns={long}"), ""), 414),
        (head(&format!("GET /dns-query?ct&dns={dns}"), ""), 200),
        (head(&format!("GET /dns-query?dns={dns}=="), ""), 200),
        (head(&format!("PUT /dns-query?dns={dns}"), "Content-Length: 0\r\n"), 405),
        (head(&format!("GET /dns-query?dns={dns}"), &format!("X: {}\r\n", "a".repeat(9000))), 431),
        (head("POST /dns-query", "Content-Type: text/plain\r\nContent-Length: 2\r\n"), 415),
        (head("POST /dns-query", "Content-Length: 0\r\n"), 415),
        (head("POST /dns-query", "Content-Type: application/dns-message\r\nContent-Length: 0\r\n"), 400),
        (head("POST /dns-query", "Content-Type: application/dns-message\r\nContent-Length: 70000\r\n"), 413),
        (post(&[&query[..2], &[0x80], &query[3..]].concat()), 400), // a response
        (post(&vec![0; 65_535]), 200),                              // FORMERR, as over TCP
    ] {
        let response = http1(&mut encrypted.http1(), &request).unwrap();
        let line = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
        assert_eq!(response.status, status, "{line}");
        if status == 405 {
            assert_eq!(response.header("allow"), Some("get, head, post"));
        }
    }
    let chunked = "POST /dns-query HTTP/1.1\r\nHost: x\r\nContent-Type: application/dns-message\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = format!("8000\r\n{}\r\n", "a".repeat(0x8000)).repeat(3);
    assert_eq!(http1(&mut encrypted.http1(), format!("{chunked}{chunks}").as_bytes()).unwrap().status, 413);
    // One connection, one request after another; the ID 0 lets caches between find the answer again.
    let mut stream = encrypted.http1();
    let response = http1(&mut stream, &get(&query)).unwrap();
    assert_eq!((response.header("cache-control"), &response.body[..2]), (Some("max-age=10"), &[0, 0][..]));
    let head = http1(&mut stream, &[b"HEAD", &get(&query)[3..]].concat()).unwrap();
    assert_eq!(
        (head.status, head.header("content-length").map(str::to_owned)),
        (200, Some(response.body.len().to_string()))
    );
    let negative = http1(&mut stream, &get(&query_of(0, "a.example", 28, None))).unwrap();
    assert_eq!(negative.header("cache-control"), Some("max-age=10"), "{negative:?}");
    drop(stream);
    encrypted.server.stop();
}

#[test]
fn a_new_certificate_is_shown_and_open_connections_stay() {
    let mut encrypted = Encrypted::start("", RECORDS);
    let mut open = encrypted.dot();
    let old = encrypted.pair.clone();
    assert_eq!(encrypted.metric("pldns_certificate_expiry_timestamp_seconds "), 3_786_912_000.0);
    let new = Pair::new(2080);
    new.write(&encrypted.server.dir);
    encrypted.server.wait_for("reloaded");
    let shown = |pair: &Pair| connect(encrypted.tls, &pair.client(&[b"dot"], &[&TLS13])).is_ok();
    assert!(shown(&new) && !shown(&old));
    assert!(ask(&mut open, &query(1, "a.example")).unwrap().ends_with(&[10, 0, 0, 1]));
    assert_eq!(encrypted.metric("pldns_certificate_expiry_timestamp_seconds "), 3_471_292_800.0);
    drop(open);
    encrypted.server.stop();
}

#[test]
fn a_broken_certificate_keeps_the_one_before_and_stops_nothing_else() {
    let mut encrypted = Encrypted::start("", RECORDS);
    encrypted
        .server
        .dir
        .write("records/b.toml", "[[record]]\nname = \"b.example\"\ntype = \"A\"\ndata = \"10.0.0.2\"\n");
    encrypted.server.dir.write("key.pem", &Pair::new(2090).key);
    encrypted.server.wait_for("reloaded");
    ask_until(encrypted.server.dns, "b.example", [10, 0, 0, 2]);
    let ready = encrypted.server.get("admin", "/readyz").json();
    let problems = ready["reload"]["problems"].to_string();
    assert!(problems.contains("key.pem") && problems.contains("not the private key"), "{ready}");
    assert!(ask(&mut encrypted.dot(), &query(1, "a.example")).is_ok(), "the one before is shown");
    let logged =
        encrypted.server.events().iter().any(|event| event["message"].to_string().contains("not the private key"));
    assert!(logged, "{:?}", encrypted.server.events());
    encrypted.server.stop();
}

#[test]
fn check_finds_what_is_wrong_with_a_certificate() {
    let (dir, pair) = (Scratch::new(), Pair::new(2090));
    dir.write("records/r.toml", RECORDS);
    dir.write("pldns.toml", &settings(&format!("{LISTEN}{TLS}name = \"other.example\"\n")));
    let check = || {
        let output =
            Command::new(env!("CARGO_BIN_EXE_pldns")).args(["check", "-c"]).arg(dir.path().join("pldns.toml")).output();
        let output = output.unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (well, said) = check();
    assert!(
        !well && said.contains("\"chain.pem\" cannot be read") && said.contains("\"key.pem\" cannot be read"),
        "{said}"
    );
    pair.write(&dir);
    let (well, said) = check();
    assert!(well && said.contains("other.example is not in the certificate"), "{said}");
    dir.write("key.pem", &Pair::new(2090).key);
    let (well, said) = check();
    assert!(!well && said.contains("pldns.toml:10:15: error: \"key.pem\" is not the private key of"), "{said}");
    Pair::new(2021).write(&dir);
    let (well, said) = check();
    assert!(well && said.contains("warning: \"chain.pem\" has expired"), "{said}");
}

#[test]
fn without_a_certificate_there_is_no_start() {
    let dir = Arc::new(Scratch::new());
    dir.write("records/r.toml", RECORDS);
    dir.write("pldns.toml", &settings(&format!("{LISTEN}{TLS}")));
    let mut server = Server::spawn_in(dir, |_| {});
    assert!(!server.wait_exit().success());
}

#[test]
fn connections_without_a_handshake_end_and_cost_others_nothing() {
    let more = "connections = 64\n";
    let encrypted = Encrypted::start(more, RECORDS);
    let silent: Vec<_> = (0..200).map(|number| connect_from([127, 0, 1, number], encrypted.tls)).collect();
    let mut dot = encrypted.dot();
    assert!(ask(&mut dot, &query(1, "a.example")).is_ok(), "its place is one of the largest holder's");
    assert_eq!(http1(&mut encrypted.http1(), &get(&query(2, "a.example"))).unwrap().status, 200);
    // All of them are closed, without a word of theirs.
    for mut stream in silent {
        assert_eq!(stream.read(&mut [0; 64]).unwrap_or(0), 0);
    }
    // What is no handshake is closed as well.
    let mut garbage = connect_from([127, 0, 1, 1], encrypted.https);
    garbage.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let _ = garbage.read_to_end(&mut Vec::new());
    drop(dot);
    encrypted.server.stop();
}

#[test]
fn clients_that_are_not_allowed_get_no_handshake() {
    let encrypted = Encrypted::start("[access]\nallow = [\"127.0.0.1/32\"]\n", RECORDS);
    let mut stranger = connect_from([127, 0, 3, 1], encrypted.tls);
    let _ = stranger.write_all(b"\x16\x03\x01");
    assert_eq!(stranger.read(&mut [0; 64]).unwrap_or(0), 0);
    assert!(ask(&mut encrypted.dot(), &query(1, "a.example")).is_ok());
    encrypted.server.stop();
}

#[test]
fn a_connection_that_takes_its_requests_back_is_closed() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let forward = format!("[[forward]]\nzone = \".\"\nupstreams = [\"{}\"]\n", silent.local_addr().unwrap());
    let encrypted = Encrypted::start(&forward, RECORDS);
    let message = query(1, "waits.example");
    let resets = http2(encrypted.https, &encrypted.pair.client(&[b"h2"], &[&TLS13]), |send| async move {
        for number in 0..2000 {
            let Ok(mut ready) = send.clone().ready().await else { return number };
            let target = format!("https://{NAME}/dns-query");
            let request =
                http::Request::post(target).header("content-type", "application/dns-message").body(()).unwrap();
            let Ok((_response, mut stream)) = ready.send_request(request, false) else { return number };
            let _ = stream.send_data(Bytes::copy_from_slice(&message), true);
            // The server has begun with it.
            tokio::task::yield_now().await;
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            stream.send_reset(h2::Reason::CANCEL);
        }
        2000
    });
    assert!(resets < 2000, "it went on");
    assert!(ask(&mut encrypted.dot(), &query(1, "a.example")).is_ok());
}

#[test]
fn a_hundred_streams_and_no_more_are_open_at_once() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let forward = format!("[[forward]]\nzone = \".\"\nupstreams = [\"{}\"]\n", silent.local_addr().unwrap());
    let encrypted = Encrypted::start(&forward, RECORDS);
    let max = http2(encrypted.https, &encrypted.pair.client(&[b"h2"], &[&TLS13]), |mut send| async move {
        // The server's settings are there with its first answer.
        let target = "/dns-query?dns=".to_owned() + &data_encoding::BASE64URL_NOPAD.encode(&query(0, "a.example"));
        assert_eq!(request(&mut send, "GET", &target, None).await.unwrap().status, 200);
        send.current_max_send_streams()
    });
    assert_eq!(max, 100);
    encrypted.server.stop();
}

#[test]
fn what_is_in_flight_is_answered_at_the_end() {
    let slow = UdpSocket::bind("127.0.0.1:0").unwrap();
    slow.set_read_timeout(Some(SOON)).unwrap();
    let forward = format!("[[forward]]\nzone = \".\"\nupstreams = [\"{}\"]\n", slow.local_addr().unwrap());
    let encrypted = Encrypted::start(&forward, RECORDS);
    let (mut dot, mut h1) = (encrypted.dot(), encrypted.http1());
    let message = query(1, "slow.example");
    dot.write_all(&[&(message.len() as u16).to_be_bytes()[..], &message].concat()).unwrap();
    let begun = Instant::now();
    let mut bytes = [0; 512];
    let (_, peer) = loop {
        let got = slow.recv_from(&mut bytes).unwrap();
        if bytes[12..].starts_with(b"\x04slow") {
            break got;
        }
    };
    encrypted.server.signal(15);
    std::thread::scope(|scope| {
        let mut server = encrypted.server;
        scope.spawn(move || {
            server.wait_for("shutting down");
            let end = 12 + 14 + 4;
            let record = [0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
            let answer = [&bytes[..2], &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0], &bytes[12..end], &record].concat();
            slow.send_to(&answer, peer).unwrap();
            let stopped = server.wait_for("stopped");
            assert_eq!(stopped["answered"], stopped["received"], "{stopped}");
            server.wait_exit();
        });
        let mut len = [0; 2];
        dot.read_exact(&mut len).unwrap();
        let mut reply = vec![0; usize::from(u16::from_be_bytes(len))];
        dot.read_exact(&mut reply).unwrap();
        assert!(reply.ends_with(&[192, 0, 2, 1]));
        // An idle connection is told that it ends.
        assert_eq!(h1.read(&mut [0; 16]).unwrap_or(0), 0);
        assert!(begun.elapsed() < SOON);
    });
}

#[test]
fn the_next_process_takes_the_encrypted_listeners_over() {
    let (dir, pair) = (Arc::new(Scratch::new()), Pair::new(2090));
    dir.write("records/r.toml", RECORDS);
    pair.write(&dir);
    let [dns, tls, https] = [(); 3].map(|()| SocketAddr::from(([127, 0, 0, 1], named_port())));
    let text = format!(
        "[listen]\ndns = [\"{dns}\"]\ntls = [\"{tls}\"]\nhttps = [\"{https}\"]\nadmin = \"\"\ndrain = \"0s\"\n\
         [process]\nworkers = 2\nhandover = \"{}/run.sock\"\n{TLS}",
        dir.path().display()
    );
    dir.write("pldns.toml", &settings(&text));
    let mut first = Encrypted::start_in(dir.clone(), pair.clone());
    let mut open = first.dot();
    assert!(ask(&mut open, &query(1, "a.example")).is_ok());
    // Connections that are made at any time find one process or the other.
    let (done, config) = (AtomicBool::new(false), pair.client(&[b"dot"], &[&TLS13]));
    std::thread::scope(|scope| {
        let _end = AtTheEnd(&done);
        let (config, done) = (&config, &done);
        let asking = scope.spawn(move || {
            let mut asked = 0;
            while !done.load(Ordering::Relaxed) {
                let mut stream = connect(tls, config).unwrap();
                assert!(ask(&mut stream, &query(2, "a.example")).unwrap().ends_with(&[10, 0, 0, 1]));
                asked += 1;
            }
            asked
        });
        let next = Encrypted::start_in(dir.clone(), pair.clone());
        let stopped = first.server.wait_for("stopped");
        assert!(first.server.wait_exit().success());
        assert_eq!(stopped["received"], stopped["answered"], "{stopped}");
        assert_eq!(http1(&mut next.http1(), &get(&query(3, "a.example"))).unwrap().status, 200);
        done.store(true, Ordering::Relaxed);
        assert!(asking.join().unwrap() > 0);
        next.server.stop();
    });
}

#[test]
fn verify_asks_the_encrypted_listeners_too() {
    let (dir, pair) = (Arc::new(Scratch::new()), Pair::new(2090));
    let (dns, tls, https) = (named_port(), named_port(), named_port());
    let listen = format!(
        "[listen]\ndns = [\"127.0.0.1:{dns}\"]\ntls = [\"127.0.0.1:{tls}\"]\nhttps = [\"127.0.0.1:{https}\"]\n\
         admin = \"\"\ndrain = \"0s\"\n"
    );
    dir.write("records/r.toml", RECORDS);
    dir.write("pldns.toml", &settings(&format!("{listen}{TLS}name = \"{NAME}\"\n")));
    pair.write(&dir);
    let server = Server::start_in(dir.clone(), |_| {});
    let verify = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pldns"));
        let output = command.args(["verify", "-c"]).arg(dir.path().join("pldns.toml")).args(more).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (is_right, text) = verify(&[]);
    assert!(is_right && text.contains("3 questions asked over UDP, TCP, TLS and HTTPS: 0 differences"), "{text}");

    // Another name than the certificate's: one difference for each listener, with the reason.
    let (is_right, text) = verify(&["--tls-name", "other.example", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(!is_right);
    let differences = report["differences"].as_array().unwrap();
    let transports: Vec<_> = differences.iter().map(|one| one["transport"].as_str().unwrap()).collect();
    assert_eq!(transports, ["tls", "https"], "{report:#}");
    for one in differences {
        assert!(one["reason"].as_str().unwrap().contains("certificate is for another name"), "{one}");
    }

    // Records that the server does not have are a difference over each transport.
    std::fs::create_dir(dir.path().join("more")).unwrap();
    dir.write("more/r.toml", "[[record]]\nname = \"b.example\"\ntype = \"TXT\"\ndata = '\"b\"'\n");
    let text = std::fs::read_to_string(dir.path().join("pldns.toml")).unwrap();
    dir.write("other.toml", &text.replace("records/*.toml", "more/*.toml"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_pldns"));
    command.args(["verify", "--format", "json", "-c"]).arg(dir.path().join("other.toml"));
    let report: serde_json::Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    let transports: Vec<_> =
        report["differences"].as_array().unwrap().iter().map(|one| one["transport"].as_str().unwrap()).collect();
    assert_eq!(transports, ["udp and tcp", "tls", "https"], "{report:#}");
    server.stop();
}
