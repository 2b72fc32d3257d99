//! Streams: messages with their length in front (RFC 1035 §4.2.2), pipelined and answered out of order (RFC 7766).
//!
//! A connection is a reader and a writer. The reader takes a place for every query before it reads the next, so that a
//! client that does not read its answers is not read from either; the writer gives the place back.

use std::io;
use std::net::{IpAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::counters::Outcome;
use super::forwarding::Origin;
use super::latency::Path;
use super::listen::Stop;
use super::shared::{ReplyPath, StreamPath, StreamReply};
use super::worker::Worker;
use crate::engine::{Action, Client};
use crate::log::Recurring;
use crate::wire::Transport;

/// How long a connection may be silent with nothing in flight.
const IDLE: Duration = Duration::from_secs(10);
/// The same while connections are getting scarce.
const IDLE_CROWDED: Duration = Duration::from_secs(1);
/// How long a message may take from its first octet to its last.
const MESSAGE: Duration = Duration::from_secs(3);
/// How long a reply may take to be written.
const WRITE: Duration = Duration::from_secs(3);
/// Queries of one connection that are answered at the same time.
const IN_FLIGHT_MAX: usize = 128;
/// Octets of a buffer that a connection keeps while it has nothing to say.
const KEPT_OCTETS: usize = 4096;
/// Octets of replies that are written at once.
const WRITE_BATCH: usize = 64 << 10;
/// How long accepting rests when the system has no descriptors left.
const REST: Duration = Duration::from_millis(100);

/// Accepts connections until the server ends.
pub(super) async fn serve(worker: Rc<Worker>, listener: TcpListener, stop: Stop) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a stream socket cannot be served"),
    };
    let mut stopping = stop.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Without a place the connection is closed at once: the client tries again or elsewhere.
                if let Some(place) = worker.shared.connections.take(peer.ip()) {
                    let _ = stream.set_nodelay(true);
                    let worker = worker.clone();
                    tokio::task::spawn_local(async move {
                        let (reader, writer) = stream.into_split();
                        serve_connection(&worker, peer.ip().to_canonical(), reader, writer).await;
                        drop(place);
                    });
                }
            }
            // A connection that broke before it was accepted is none of ours; without descriptors, wait for some.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
            Err(error) => {
                static CAUSE: Recurring = Recurring::new();
                if let Some(before) = CAUSE.due() {
                    tracing::warn!(%error, before, "no connection can be accepted");
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Serves one connection of whatever kind to its end.
async fn serve_connection(
    worker: &Rc<Worker>,
    client: IpAddr,
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin + 'static,
) {
    let (replies, outgoing) = mpsc::unbounded_channel();
    let writing = tokio::task::spawn_local(write_replies(writer, outgoing));
    let client = Client { address: client, transport: Transport::Tcp };
    let abort = writing.abort_handle();
    tokio::select! {
        _ = read_queries(worker, client, reader, replies) => {
            // The last reply may still wait for an upstream: the writer ends when everybody has written.
            let _ = writing.await;
        }
        // The client does not read, or is gone.
        () = abort_finished(&abort) => {}
    }
}

async fn abort_finished(handle: &tokio::task::AbortHandle) {
    while !handle.is_finished() {
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

async fn read_queries(
    worker: &Rc<Worker>,
    client: Client,
    mut reader: impl AsyncRead + Unpin,
    replies: mpsc::UnboundedSender<StreamReply>,
) -> io::Result<()> {
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut stopping = worker.shared.stopping.subscribe();
    let mut message = Vec::new();
    let mut reply = Vec::new();
    loop {
        let permit = in_flight.clone().acquire_owned().await.map_err(io::Error::other)?;
        tokio::select! {
            read = read_message(worker, &in_flight, &mut reader, &mut message) => read?,
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
        }
        answer(worker, client, &message, &mut reply, permit, &replies);
        for buffer in [&mut message, &mut reply] {
            buffer.clear();
            buffer.shrink_to(KEPT_OCTETS);
        }
    }
}

/// Reads a message. Silence before its first octet is judged by the idle time, unless replies are due.
async fn read_message(
    worker: &Worker,
    in_flight: &Semaphore,
    reader: &mut (impl AsyncRead + Unpin),
    message: &mut Vec<u8>,
) -> io::Result<()> {
    let first = loop {
        let idle = if worker.shared.connections.is_crowded() { IDLE_CROWDED } else { IDLE };
        match timeout(idle, reader.read_u8()).await {
            Ok(first) => break first?,
            // One place is taken by the query that is waited for.
            Err(_) if in_flight.available_permits() + 1 < IN_FLIGHT_MAX => {}
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    };
    timeout(MESSAGE, async {
        let len = u16::from_be_bytes([first, reader.read_u8().await?]);
        // Room for what came, not for what is promised.
        let len = usize::from(len);
        let mut rest = (&mut *reader).take(len as u64);
        while message.len() < len {
            if rest.read_buf(message).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    })
    .await?
}

fn answer(
    worker: &Rc<Worker>,
    client: Client,
    message: &[u8],
    reply: &mut Vec<u8>,
    permit: OwnedSemaphorePermit,
    replies: &mpsc::UnboundedSender<StreamReply>,
) {
    worker.counters.received(client.transport, 1);
    worker.counters.kind(message);
    let now = Instant::now();
    let snapshot = worker.shared.snapshot.load();
    let path = StreamPath { replies: replies.clone(), permit, connections: worker.shared.connections.clone() };
    let outcome = match worker.answer(&snapshot, message, client, now, reply) {
        Action::Forward(forward) => {
            let path = ReplyPath::Stream(path);
            return worker.forward([(forward, Origin { query: message, client, path })], now);
        }
        Action::AnsweredAndRefresh(source, question) => {
            worker.refresh(question, now);
            path.deliver(reply, Outcome::Answered(source))
        }
        Action::Dropped(reason) => Outcome::Not(reason),
        Action::Answered(source) => path.deliver(reply, Outcome::Answered(source)),
        Action::Refused(reason) => path.deliver(reply, Outcome::Not(reason)),
    };
    if let Outcome::Answered(source) = outcome {
        worker.counters.latency(Path::at_once(source), now.elapsed(), 1);
    }
    worker.counters.count(outcome);
    worker.sample(message, client, outcome);
}

/// Writes replies as they come, those that are there at the same time together.
async fn write_replies(
    mut writer: impl AsyncWrite + Unpin,
    mut outgoing: mpsc::UnboundedReceiver<StreamReply>,
) -> io::Result<()> {
    let mut octets = Vec::new();
    let mut permits = Vec::new();
    while let Some(first) = outgoing.recv().await {
        let mut next = Some(first);
        while let Some(StreamReply { message, _permit: permit, _octets: waiting }) = next.take() {
            // No reply is longer than its limit. One that were would be read as several messages: better none.
            if let Ok(len) = u16::try_from(message.len()) {
                octets.extend_from_slice(&len.to_be_bytes());
                octets.extend_from_slice(&message);
            }
            permits.push((permit, waiting));
            if octets.len() < WRITE_BATCH {
                next = outgoing.try_recv().ok();
            }
        }
        timeout(WRITE, writer.write_all(&octets)).await??;
        octets.clear();
        octets.shrink_to(KEPT_OCTETS);
        permits.clear();
        permits.shrink_to(IN_FLIGHT_MAX / 8);
    }
    writer.shutdown().await
}
