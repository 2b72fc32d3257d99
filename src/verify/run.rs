//! Asking all questions over UDP and TCP, many at once and not too many.

#![expect(clippy::disallowed_types, reason = "part of the shell, which owns sockets")]

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};

use super::queue::{Answers, Queue, gather};
use super::{Check, Listener, Observed, Over, encrypted};
use crate::client::{is_answer, query, receive_framed, send_framed, with_id};
use crate::upstream::Trust;

/// Sockets that ask over UDP at once, one question each.
const UDP_AT_ONCE: usize = 64;
/// Connections over TCP; a server takes 64 of one client.
const TCP_AT_ONCE: usize = 16;
/// How long a datagram is waited for, and how often it is sent.
const UDP_WAIT: Duration = Duration::from_millis(2500);
const UDP_TRIES: usize = 2;
/// How long an answer over TCP is waited for.
const TCP_WAIT: Duration = Duration::from_secs(6);
/// How often it is tried again on another connection.
const TCP_TRIES: usize = 2;

/// What came back for each check, in their order; `None` without an answer.
pub struct Asked {
    /// Over UDP.
    pub udp: Vec<Option<Observed>>,
    /// Over TCP.
    pub tcp: Vec<Option<Observed>>,
    /// Over each encrypted listener.
    pub encrypted: Vec<Over>,
    /// Of the other server, over UDP; empty without one.
    pub against: Vec<Option<Observed>>,
}

/// Asks everything, over UDP, TCP and the encrypted `listeners`, whose certificates are checked against `trust`. `progress` is
/// called now and then with how much is done, of how much. To be run in a `LocalSet`.
pub async fn run(
    server: SocketAddr,
    (listeners, trust): (Vec<Listener>, &Arc<Trust>),
    against: Option<SocketAddr>,
    checks: Vec<Check>,
    progress: impl Fn(usize, usize),
) -> Asked {
    let checks: Rc<[Check]> = checks.into();
    let done = Rc::new(Cell::new(0));
    let total = checks.len() * (2 + listeners.len() + usize::from(against.is_some()));
    let udp = tokio::task::spawn_local(ask_all_udp(server, Queue::new(&checks, &done)));
    let tcp = tokio::task::spawn_local(ask_all_tcp(server, Queue::new(&checks, &done)));
    let encrypted: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            tokio::task::spawn_local(encrypted::ask_all(listener, Queue::new(&checks, &done), trust.clone()))
        })
        .collect();
    let against = against.map(|other| tokio::task::spawn_local(ask_all_udp(other, Queue::new(&checks, &done))));
    let mut pulse = tokio::time::interval(Duration::from_millis(100));
    let wait = async {
        let udp = udp.await.unwrap_or_default();
        let tcp = tcp.await.unwrap_or_default();
        let mut over = Vec::new();
        for listener in encrypted {
            over.extend(listener.await);
        }
        let against = match against {
            Some(against) => against.await.unwrap_or_default(),
            None => Vec::new(),
        };
        Asked { udp, tcp, encrypted: over, against }
    };
    tokio::pin!(wait);
    loop {
        tokio::select! {
            asked = &mut wait => return asked,
            _ = pulse.tick() => progress(done.get(), total),
        }
    }
}

async fn ask_all_udp(server: SocketAddr, queue: Rc<Queue>) -> Answers {
    let at_once = UDP_AT_ONCE.min(queue.checks.len().max(1));
    let task = |_| {
        let queue = queue.clone();
        tokio::task::spawn_local(async move {
            let mut answers = Vec::new();
            let mut buffer = vec![0; 4096];
            let socket = udp_socket(server).await;
            while let Some((number, check)) = queue.take() {
                let observed = match &socket {
                    Some(socket) => ask_udp(socket, check, &mut buffer).await,
                    None => None,
                };
                answers.push((number, observed));
                queue.note_done();
            }
            answers
        })
    };
    gather(&queue, (0..at_once).map(task).collect()).await
}

async fn udp_socket(server: SocketAddr) -> Option<UdpSocket> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await.ok()?;
    socket.connect(server).await.ok()?;
    Some(socket)
}

async fn ask_udp(socket: &UdpSocket, check: &Check, buffer: &mut [u8]) -> Option<Observed> {
    let query = with_id(&query(&check.name, check.rtype), rand::random());
    for _ in 0..UDP_TRIES {
        if socket.send(&query).await.is_err() {
            continue;
        }
        let end = Instant::now() + UDP_WAIT;
        while let Ok(received) = timeout_at(end, socket.recv(buffer)).await {
            let Ok(len) = received else { break };
            let message = buffer.get(..len).unwrap_or_default();
            if is_answer(&query, message) {
                return Observed::read(message, check.rtype);
            }
        }
    }
    None
}

async fn ask_all_tcp(server: SocketAddr, queue: Rc<Queue>) -> Answers {
    let at_once = TCP_AT_ONCE.min(queue.checks.len().max(1));
    let task = |_| {
        let queue = queue.clone();
        tokio::task::spawn_local(async move {
            let mut answers = Vec::new();
            let mut connection = None;
            while let Some((number, check)) = queue.take() {
                let mut observed = None;
                for _ in 0..TCP_TRIES {
                    observed = timeout(TCP_WAIT, ask_tcp(server, &mut connection, check)).await.ok().flatten();
                    if observed.is_some() {
                        break;
                    }
                    connection = None;
                }
                answers.push((number, observed));
                queue.note_done();
            }
            answers
        })
    };
    gather(&queue, (0..at_once).map(task).collect()).await
}

async fn ask_tcp(server: SocketAddr, connection: &mut Option<TcpStream>, check: &Check) -> Option<Observed> {
    if connection.is_none() {
        let stream = TcpStream::connect(server).await.ok()?;
        // A query is one small segment: it does not wait for the one before to be acknowledged.
        let _ = stream.set_nodelay(true);
        *connection = Some(stream);
    }
    let stream = connection.as_mut()?;
    let query = with_id(&query(&check.name, check.rtype), rand::random());
    send_framed(stream, &query).await.ok()?;
    let message = receive_framed(stream).await.ok()?;
    if !is_answer(&query, &message) {
        return None;
    }
    Observed::read(&message, check.rtype)
}
