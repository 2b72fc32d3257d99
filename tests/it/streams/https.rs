//! DNS over HTTPS: one HTTP/2 connection for many queries, certificates, and what HTTP may answer instead.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use super::certificates::{Authority, Valid};
use super::message::{answer, name_of};
use super::server::{Pldns, explain};
use super::upstream::Seen;

const AT_ONCE: Duration = Duration::from_secs(4);

/// What an upstream does with a request.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Conduct {
    Answer,
    /// After a while; what comes later may be answered sooner.
    AnswerLater,
    /// HTTP says this instead.
    Status(u16),
    /// The message has another type than DNS.
    WrongType,
    /// Not DNS.
    Nonsense,
    /// The stream is reset.
    Reset,
    /// Answers, and lets the connection end in good order.
    AnswerAndGoAway,
    /// The connection breaks.
    Break,
}

pub(crate) struct Https {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Seen,
    pub(crate) requests: Arc<Mutex<Vec<Request<()>>>>,
}

impl Https {
    /// Connections are numbered from 0; the look at start has no number and is not seen.
    pub(crate) async fn start(
        tls: TlsAcceptor,
        conduct: impl Fn(usize, &str) -> Conduct + Send + Sync + 'static,
        write: fn(&[u8]) -> Vec<u8>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, requests) = (Seen::default(), Arc::new(Mutex::new(Vec::new())));
        let server = Self { address, seen: seen.clone(), requests: requests.clone() };
        let conduct = Arc::new(conduct);
        let numbers = Arc::new(Mutex::new(0));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = tls.accept(stream).await else { continue };
                let connection = Connection {
                    number: Arc::default(),
                    numbers: numbers.clone(),
                    seen: seen.clone(),
                    requests: requests.clone(),
                };
                let conduct = conduct.clone();
                tokio::spawn(connection.serve(stream, move |number, name: &str| conduct(number, name), write));
            }
        });
        server
    }

    fn connections(&self) -> usize {
        self.seen.lock().unwrap().iter().map(|(number, _)| *number).collect::<HashSet<_>>().len()
    }
}

struct Connection {
    number: Arc<Mutex<Option<usize>>>,
    numbers: Arc<Mutex<usize>>,
    seen: Seen,
    requests: Arc<Mutex<Vec<Request<()>>>>,
}

impl Connection {
    async fn serve(
        self,
        stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
        conduct: impl Fn(usize, &str) -> Conduct,
        write: fn(&[u8]) -> Vec<u8>,
    ) {
        let Ok(mut h2) = h2::server::handshake(stream).await else { return };
        while let Some(Ok((request, mut respond))) = h2.accept().await {
            let (parts, mut body) = request.into_parts();
            // The queries here fit one frame, which comes with the next poll of the connection.
            let (query, _) = tokio::join!(
                async { body.data().await.and_then(Result::ok).unwrap_or_default() },
                tokio::time::timeout(Duration::from_millis(5), std::future::poll_fn(|context| h2.poll_closed(context)))
            );
            let name = name_of(&query);
            let what = if name == "." {
                Conduct::Answer
            } else {
                let number = self.number();
                self.seen.lock().unwrap().push((number, name.clone()));
                self.requests.lock().unwrap().push(Request::from_parts(parts, ()));
                conduct(number, &name)
            };
            let (mut status, mut media, mut message) = (200, "application/dns-message", write(&query));
            match what {
                Conduct::Break => return,
                Conduct::Reset => {
                    respond.send_reset(h2::Reason::INTERNAL_ERROR);
                    continue;
                }
                Conduct::Status(code) => status = code,
                Conduct::WrongType => media = "text/html",
                Conduct::Nonsense => message = b"<html>".to_vec(),
                Conduct::AnswerAndGoAway => h2.graceful_shutdown(),
                Conduct::Answer | Conduct::AnswerLater => {}
            }
            tokio::spawn(async move {
                if what == Conduct::AnswerLater {
                    sleep(Duration::from_millis(200)).await;
                }
                let head = Response::builder().status(status).header("content-type", media).body(()).unwrap();
                if let Ok(mut stream) = respond.send_response(head, false) {
                    let _ = stream.send_data(Bytes::from(message), true);
                }
            });
        }
    }

    fn number(&self) -> usize {
        *self.number.lock().unwrap().get_or_insert_with(|| {
            let mut next = self.numbers.lock().unwrap();
            *next += 1;
            *next - 1
        })
    }
}

async fn start(conduct: impl Fn(usize, &str) -> Conduct + Send + Sync + 'static) -> (Https, Pldns) {
    let authority = Authority::new();
    let upstream = Https::start(authority.acceptor("dns.example", Valid::Now, b"h2"), conduct, answer).await;
    let server = serve(&upstream, &authority).await;
    (upstream, server)
}

async fn serve(upstream: &Https, authority: &Authority) -> Pldns {
    let target = format!("https://{}/dns-query#dns.example", upstream.address);
    Pldns::with_upstream(&target, &[("ca.pem", &authority.pem)]).await
}

#[tokio::test]
async fn one_connection_serves_many_queries() {
    let (upstream, server) = start(|_, _| Conduct::Answer).await;
    for number in 0..50 {
        server.must_answer(&format!("n{number}.example")).await;
    }
    assert_eq!(upstream.connections(), 1);
    let requests = upstream.requests.lock().unwrap();
    assert_eq!(requests.len(), 50);
    for request in requests.iter() {
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri().path(), "/dns-query");
        assert_eq!(request.uri().host(), Some("dns.example"));
        assert_eq!(request.headers()["content-type"], "application/dns-message");
    }
    assert!(server.warnings().is_empty(), "{:#?}", server.warnings());
}

#[tokio::test]
async fn answers_come_in_any_order() {
    let late = |_, name: &str| if name.starts_with("late") { Conduct::AnswerLater } else { Conduct::Answer };
    let (upstream, server) = start(late).await;
    server.must_answer("first.example").await;
    let (late, soon) = tokio::join!(server.must_answer("late.example"), server.must_answer("soon.example"));
    assert!(late >= Duration::from_millis(200) && soon < late, "{soon:?} {late:?}");
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn certificates_that_are_not_right_are_refused() {
    let (authority, unknown) = (Authority::new(), Authority::new());
    let cases = [
        (&authority, "other.example", Valid::Now, "certificate for another name"),
        (&authority, "dns.example", Valid::LongAgo, "certificate expired"),
        (&unknown, "dns.example", Valid::Now, "certificate of an unknown authority"),
    ];
    for (signed_by, name, valid, cause) in cases {
        let tls = signed_by.acceptor(name, valid, b"h2");
        let upstream = Https::start(tls, |_, _| Conduct::Answer, answer).await;
        let server = serve(&upstream, &authority).await;
        let reply = server.ask("a.example").await;
        reply.rcode("SERVFAIL");
        assert!(upstream.seen.lock().unwrap().is_empty());
        server.logged("upstream query failed").await;
        let told = server.lines("upstream query failed");
        assert_eq!(told.len(), 1, "{told:#?}");
        assert!(told[0].contains(&format!("\"cause\":\"{cause}\"")), "{told:#?}");
    }
}

#[tokio::test]
async fn connections_that_end_lose_nothing() {
    // The third query of each connection breaks it, after the first let it be known that it would end, or not.
    for first in [Conduct::Answer, Conduct::AnswerAndGoAway] {
        let conduct = move |connection: usize, name: &str| match (connection, name) {
            (_, "n0.example.") => first,
            (0, "n2.example.") => Conduct::Break,
            _ => Conduct::Answer,
        };
        let (upstream, server) = start(conduct).await;
        for number in 0..6 {
            let took = server.must_answer(&format!("n{number}.example")).await;
            assert!(took < AT_ONCE, "{number}: {took:?}");
        }
        assert_eq!(upstream.connections(), 2, "{:?}", upstream.seen.lock().unwrap());
        assert!(server.lines("h2").is_empty(), "the library keeps its troubles to itself");
    }
}

#[tokio::test]
async fn what_http_says_instead_costs_its_query_alone() {
    let conduct = |_, name: &str| match name {
        "status.example." => Conduct::Status(503),
        "type.example." => Conduct::WrongType,
        "nonsense.example." => Conduct::Nonsense,
        "reset.example." => Conduct::Reset,
        _ => Conduct::Answer,
    };
    let (upstream, server) = start(conduct).await;
    let others = async {
        for number in 0..50 {
            let took = server.must_answer(&format!("n{number}.example")).await;
            assert!(took < AT_ONCE, "{number}: {took:?}");
        }
    };
    let failing = async {
        let names = ["status.example", "type.example", "nonsense.example", "reset.example"];
        let replies =
            tokio::join!(server.ask(names[0]), server.ask(names[1]), server.ask(names[2]), server.ask(names[3]));
        for reply in [replies.0, replies.1, replies.2, replies.3] {
            reply.rcode("SERVFAIL");
        }
    };
    tokio::join!(others, failing);
    assert_eq!(upstream.connections(), 1);
    server.logged("upstream query failed").await;
}

#[tokio::test]
async fn explain_asks_over_https() {
    let authority = Authority::new();
    let upstream =
        Https::start(authority.acceptor("dns.example", Valid::Now, b"h2"), |_, _| Conduct::Answer, answer).await;
    let target = format!("https://{}/dns-query#dns.example", upstream.address);
    let explanation = explain(&target, &authority.pem, "a.example").await;
    let step = explanation["steps"].as_array().unwrap().iter().find(|step| step["step"] == "upstream").unwrap();
    assert_eq!((&step["over"], &step["rcode"]), (&"https".into(), &"NOERROR".into()), "{explanation:#}");
    assert_eq!(upstream.connections(), 1);
}
