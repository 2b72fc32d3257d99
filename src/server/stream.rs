//! Streams: messages with their length in front (RFC 1035 §4.2.2), pipelined and answered out of order (RFC 7766).
//!
//! A connection is a reader and a writer. The reader takes a place for every query before it reads the next, so that a
//! client that does not read its answers is not read from either; the writer gives the place back.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::accept::accept;
use super::connections::Place;
use super::endpoint::EndpointKind;
use super::faults::Part;
use super::https;
use super::listen::Listener;
use super::waiter::{ReplyPath, StreamPath, StreamReply};
use super::worker::Worker;
use crate::engine::Client;

/// How long a message may take from its first byte to its last.
const MESSAGE: Duration = Duration::from_secs(3);
/// How long a reply may take to be written.
const WRITE: Duration = Duration::from_secs(3);
/// Queries of one connection that are answered at the same time.
const IN_FLIGHT_MAX: usize = 128;
/// Bytes of a buffer that a connection keeps while it has nothing to say.
const KEPT_BYTES: usize = 4096;
/// Bytes of replies that are written at once.
const WRITE_BATCH: usize = 64 << 10;
/// How long a connection of a client lasts that is not allowed.
const STRANGER: Duration = Duration::from_secs(3);

/// Accepts connections until the listener or the server ends.
pub(super) async fn serve(worker: &Rc<Worker>, listener: &Listener) {
    let Some(stream) = &listener.stream else { return };
    let accepting = stream.try_clone().and_then(tokio::net::TcpListener::from_std);
    let accepting = match accepting {
        Ok(accepting) => accepting,
        Err(error) => return tracing::error!(%error, "TCP listener failed"),
    };
    tokio::select! {
        never = accept(&accepting, |stream, client| take(worker, listener.kind, stream, client)) => match never {},
        () = listener.stop.stopped() => {}
    }
}

/// Takes a connection in. Who is not allowed takes no place of those who are: such a connection gets one REFUSED, where
/// there is a place for it.
fn take(worker: &Rc<Worker>, kind: EndpointKind, stream: TcpStream, client: IpAddr) {
    worker.shared.faults.meet(Part::Listener);
    let is_allowed = worker.shared.snapshot.load().access.allows(client);
    let places = if is_allowed {
        &worker.shared.connections
    } else {
        worker.shared.not_allowed.fetch_add(1, Ordering::Relaxed);
        // A handshake costs more than a stranger is worth.
        if kind != EndpointKind::Dns {
            return;
        }
        &worker.shared.strangers
    };
    // Without a place the connection is closed at once: the client tries again or elsewhere.
    let Some(place) = places.take(client) else { return };
    let worker = worker.clone();
    tokio::task::spawn_local(async move {
        let transport = kind.stream_transport();
        let client = Client { address: client, transport };
        let serving = async {
            if kind == EndpointKind::Dns {
                let (reader, writer) = stream.into_split();
                return match is_allowed {
                    true => serve_connection(&worker, client, reader, writer, usize::MAX).await,
                    false => drop(timeout(STRANGER, serve_connection(&worker, client, reader, writer, 1)).await),
                };
            }
            // What goes wrong in a handshake is the client's concern, and anybody can make it go wrong.
            let Ok(stream) = worker.shared.tls.accept(kind, stream).await else { return };
            if kind == EndpointKind::Https {
                return https::serve_connection(&worker, client, stream).await;
            }
            let (reader, writer) = tokio::io::split(stream);
            serve_connection(&worker, client, reader, writer, usize::MAX).await;
        };
        serve_in_place(&worker, &place, serving).await;
    });
}

/// Serves a connection until it ends, or its place goes to another client.
pub(super) async fn serve_in_place(worker: &Worker, place: &Place, serving: impl Future<Output = ()>) {
    let serving = worker.shared.faults.supervised(Part::Connection, serving);
    tokio::select! {
        // What came of a panic is counted; the client sees its connection closed.
        _ = serving => {}
        () = place.lost() => {}
    }
}

/// Serves one connection of whatever kind to its end, or until it has sent as many messages.
async fn serve_connection(
    worker: &Rc<Worker>,
    client: Client,
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    messages_max: usize,
) {
    let (replies, outgoing) = mpsc::unbounded_channel();
    let mut writing = std::pin::pin!(write_replies(writer, outgoing));
    tokio::select! {
        _ = read_queries(worker, client, reader, replies, messages_max) => {
            // The last reply may still wait for an upstream: the writer ends when all are written.
            let _ = writing.await;
        }
        // The client does not read, or is gone.
        _ = &mut writing => {}
    }
}

async fn read_queries(
    worker: &Rc<Worker>,
    client: Client,
    mut reader: impl AsyncRead + Unpin,
    replies: mpsc::UnboundedSender<StreamReply>,
    messages_max: usize,
) -> io::Result<()> {
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut last = std::pin::pin!(worker.shared.last_messages());
    let mut message = Vec::new();
    let mut reply = Vec::new();
    for _ in 0..messages_max {
        let permit = in_flight.clone().acquire_owned().await.map_err(io::Error::other)?;
        tokio::select! {
            read = read_message(worker, &in_flight, &mut reader, &mut message) => read?,
            () = &mut last => return Ok(()),
        }
        let connections = worker.shared.connections.clone();
        let path = ReplyPath::Stream(StreamPath { replies: replies.clone(), permit, connections });
        worker.take(&message, client, path, &mut reply);
        for buffer in [&mut message, &mut reply] {
            buffer.clear();
            buffer.shrink_to(KEPT_BYTES);
        }
    }
    Ok(())
}

/// Reads a message. Silence before its first byte is judged by the idle time, unless replies are due.
async fn read_message(
    worker: &Worker,
    in_flight: &Semaphore,
    reader: &mut (impl AsyncRead + Unpin),
    message: &mut Vec<u8>,
) -> io::Result<()> {
    let first = loop {
        match timeout(worker.shared.connections.idle_time(), reader.read_u8()).await {
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

/// Writes replies as they come, those that are there at the same time together.
async fn write_replies(
    mut writer: impl AsyncWrite + Unpin,
    mut outgoing: mpsc::UnboundedReceiver<StreamReply>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut permits = Vec::new();
    while let Some(first) = outgoing.recv().await {
        let mut next = Some(first);
        while let Some(StreamReply { message, _permit: permit, _bytes: waiting }) = next.take() {
            // No reply is longer than its limit. One that were would be read as several messages: better none.
            if let Ok(len) = u16::try_from(message.len()) {
                bytes.extend_from_slice(&len.to_be_bytes());
                bytes.extend_from_slice(&message);
            }
            permits.push((permit, waiting));
            if bytes.len() < WRITE_BATCH {
                next = outgoing.try_recv().ok();
            }
        }
        timeout(WRITE, writer.write_all(&bytes)).await??;
        bytes.clear();
        bytes.shrink_to(KEPT_BYTES);
        permits.clear();
        permits.shrink_to(IN_FLIGHT_MAX / 8);
    }
    writer.shutdown().await
}
