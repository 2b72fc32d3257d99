//! DNS over QUIC (RFC 9250): one message in a stream, which goes the way of every other one.
//!
//! A QUIC connection is known by an ID in its packets, not by the addresses that the kernel sorts datagrams by: with a socket for each
//! worker, packets of one connection would reach workers that do not know it. So each address has one socket, which one worker
//! reads.
//!
//! A place among the connections is taken for an address that has shown itself only (RFC 9000 §8.1.2), so that forged ones take
//! no client's; a client that is not allowed gets no word. What a connection may hold is bounded: its streams, the bytes of each, the time for
//! each, and how often it may take a query back.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{
    AsyncUdpSocket, Connecting, Endpoint, EndpointConfig, Incoming, ReadError, RecvStream, Runtime, SendStream,
    ServerConfig, TokioRuntime, TransportConfig, UdpPoller, VarInt, WriteError,
};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::faults::Part;
use super::listen::{Datagrams, Stop};
use super::shared::LAST_MESSAGES;
use super::stream::serve_in_place;
use super::tls::HANDSHAKE;
use super::worker::Worker;
use crate::engine::Client;
use crate::wire::header::{HEADER_LEN, Header, QR};
use crate::wire::{NameBuf, Query, Transport};

/// Streams that a client may have open at the same time on one connection, each with one query.
const STREAMS_MAX: u32 = 100;
/// Bytes that a stream may carry: the longest message with its length in front. All streams of a connection together have as much
/// that was not read yet.
const STREAM_MAX: u32 = 2 + 65_535;
/// How long a query may take from the first byte of its stream to the last.
const REQUEST: Duration = Duration::from_secs(3);
/// How long a reply may take to be written, and to be acknowledged.
const WRITE: Duration = Duration::from_secs(3);
/// How often a connection may take a query back, or not finish it.
const RESETS_MAX: u32 = 100;
/// After so long without a packet a client is gone, whatever it waited for: longer than any query waits.
const GONE: Duration = Duration::from_secs(15);
/// Packets of new connections that wait to be looked at, and their bytes.
const NEW_MAX: usize = 256;
const NEW_BYTES_MAX: u64 = 512 << 10;
/// How long a retry token is good for.
const RETRY: Duration = Duration::from_secs(5);
/// How long the last packets of a connection have to leave.
const FAREWELL: Duration = Duration::from_millis(20);
/// How long a listener rests whose endpoint failed, before it begins again.
const REST: Duration = Duration::from_millis(100);

/// Error codes (RFC 9250 §4.3).
const NO_ERROR: VarInt = VarInt::from_u32(0);
const INTERNAL_ERROR: VarInt = VarInt::from_u32(1);
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
const REQUEST_CANCELLED: VarInt = VarInt::from_u32(3);
const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(4);

/// Serves a socket until the listener or the server ends. Connections that are open then are told so by themselves.
pub(super) async fn serve(worker: &Rc<Worker>, datagrams: &Datagrams, stop: &Stop) {
    // What one process reads of the connections of another is lost.
    tokio::select! {
        () = worker.shared.without_previous_process() => {}
        () = stop.stopped() => return,
    }
    while !stop.is_stopped() {
        let opened = open(worker, datagrams);
        let (endpoint, socket) = match opened {
            Ok(opened) => opened,
            Err(error) => return tracing::error!(%error, "QUIC listener failed"),
        };
        loop {
            tokio::select! {
                biased;
                () = stop.stopped() => break,
                incoming = endpoint.accept() => match incoming {
                    Some(incoming) => take(worker, incoming, stop),
                    // The task that reads the socket ended by a panic or an error.
                    None => {
                        tracing::error!("QUIC listener failed; restarting it");
                        sleep(REST).await;
                        break;
                    }
                },
            }
        }
        // What begins now is for the next process, which reads the same socket.
        let has_successor = worker.shared.has_successor();
        socket.is_deaf.store(has_successor, Ordering::Relaxed);
        endpoint.set_server_config(None);
        // What was read before and is not begun is sent there.
        while let Some(incoming) = waiting(&endpoint).await.filter(|_| has_successor) {
            if incoming.remote_address_validated() {
                incoming.ignore();
            } else {
                take(worker, incoming, stop);
            }
        }
    }
}

/// A connection that waits to be taken in.
async fn waiting(endpoint: &Endpoint) -> Option<Incoming> {
    tokio::select! {
        biased;
        waiting = endpoint.accept() => waiting,
        () = std::future::ready(()) => None,
    }
}

fn open(worker: &Worker, datagrams: &Datagrams) -> io::Result<(Endpoint, Arc<Socket>)> {
    let runtime = Arc::new(TokioRuntime);
    let inner = runtime.wrap_udp_socket(UdpSocket::try_clone(&datagrams.socket)?)?;
    let socket = Arc::new(Socket { inner, is_deaf: AtomicBool::new(false) });
    let config = server_config(worker)?;
    let endpoint =
        Endpoint::new_with_abstract_socket(EndpointConfig::default(), Some(config), socket.clone(), runtime)?;
    Ok((endpoint, socket))
}

fn server_config(worker: &Worker) -> io::Result<ServerConfig> {
    let crypto = QuicServerConfig::try_from(worker.shared.tls.quic()).map_err(io::Error::other)?;
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        // Queries come on streams that are answered; of others there is no use (RFC 9250 §4.2).
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_MAX))
        .receive_window(VarInt::from_u32(STREAM_MAX))
        .send_window(STREAM_MAX.into())
        .max_idle_timeout(Some(GONE.try_into().map_err(io::Error::other)?))
        // Messages are short: a path that carries more in one packet gains nothing.
        .mtu_discovery_config(None);
    // A token that one process gave is shown to the next, which may not ask for another (RFC 9000 §17.2.5.2).
    let certificate = worker.shared.certificates.current().ok_or_else(|| io::Error::other("no certificate"))?;
    let mut config = ServerConfig::new(Arc::new(crypto), Arc::new(certificate.derived().clone()));
    config
        .transport_config(Arc::new(transport))
        // The access list and the places are those of the address that the connection began with.
        .migration(false)
        .retry_token_lifetime(RETRY)
        .max_incoming(NEW_MAX)
        .incoming_buffer_size(u64::from(STREAM_MAX) / 4)
        .incoming_buffer_size_total(NEW_BYTES_MAX);
    Ok(config)
}

/// Takes a connection in.
fn take(worker: &Rc<Worker>, incoming: Incoming, stop: &Stop) {
    worker.shared.faults.meet(Part::Listener);
    let address = incoming.remote_address().ip().to_canonical();
    if !worker.shared.snapshot.load().access.allows(address) {
        worker.shared.not_allowed.fetch_add(1, Ordering::Relaxed);
        return incoming.ignore();
    }
    if !incoming.remote_address_validated() {
        // It comes again, with a token.
        let _ = incoming.retry();
        return;
    }
    // Without a place the client is told at once: it tries again or elsewhere.
    let Some(place) = worker.shared.connections.take(address) else { return incoming.refuse() };
    let Ok(connecting) = incoming.accept() else { return };
    let (worker, stop) = (worker.clone(), stop.clone());
    tokio::task::spawn_local(async move {
        let client = Client { address, transport: Transport::Quic };
        // Where its place goes to another client, what is dropped with it closes the connection.
        serve_in_place(&worker, &place, Box::pin(serve_connection(&worker, client, connecting, &stop))).await;
        // What closes it has yet to be sent.
        sleep(FAREWELL).await;
    });
}

/// What came of a stream.
enum Outcome {
    /// Its query was answered, or could not be.
    Done,
    /// The client took its query back, did not finish it or did not take the reply.
    Wasted,
    /// It broke the rules of the protocol.
    Malformed,
}

/// Serves a connection from its handshake to its end.
async fn serve_connection(worker: &Rc<Worker>, client: Client, connecting: Connecting, stop: &Stop) {
    let mut ended = pin!(ended(worker, stop));
    let connection = tokio::select! {
        made = timeout(HANDSHAKE, connecting) => match made {
            Ok(Ok(connection)) => connection,
            // What goes wrong in a handshake is the client's concern, and anybody can make it go wrong.
            Ok(Err(_)) | Err(_) => return,
        },
        () = &mut ended => return,
    };
    let mut streams = JoinSet::new();
    let mut wasted = 0;
    let code = loop {
        tokio::select! {
            accepted = connection.accept_bi() => {
                let Ok((send, receive)) = accepted else { return };
                let (worker, stop) = (worker.clone(), stop.clone());
                streams.spawn_local(async move {
                    let serving = serve_stream(&worker, client, send, receive, &stop);
                    worker.shared.faults.supervised(Part::Connection, serving).await
                });
            }
            Some(outcome) = streams.join_next() => match outcome {
                Ok(Some(Outcome::Done)) => {}
                Ok(Some(Outcome::Wasted)) if wasted < RESETS_MAX => wasted += 1,
                Ok(Some(Outcome::Wasted)) => break EXCESSIVE_LOAD,
                Ok(Some(Outcome::Malformed)) => break PROTOCOL_ERROR,
                // A panic, which is counted.
                Ok(None) | Err(_) => break INTERNAL_ERROR,
            },
            () = sleep(worker.shared.connections.idle_time()), if streams.is_empty() => break NO_ERROR,
            () = &mut ended => {
                while streams.join_next().await.is_some() {}
                break NO_ERROR;
            }
        }
    };
    connection.close(code, b"");
}

/// Returns when connections are to end: a moment after their listener or the server does, for what was sent before its client could
/// know. Where another process reads the socket by then, that gets it, and the client had better know at once.
async fn ended(worker: &Worker, stop: &Stop) {
    stop.stopped().await;
    if !worker.shared.has_successor() {
        sleep(LAST_MESSAGES).await;
    }
}

/// Answers the query of one stream.
async fn serve_stream(
    worker: &Rc<Worker>,
    client: Client,
    mut send: SendStream,
    mut receive: RecvStream,
    stop: &Stop,
) -> Outcome {
    let place = worker.shared.connections.take_request();
    if place.is_none() {
        return give_up(&mut send, &mut receive, EXCESSIVE_LOAD, Outcome::Done);
    }
    let message = match timeout(REQUEST, read_message(worker, &mut receive)).await {
        Ok(Ok(message)) if is_allowed(&message) => message,
        Ok(Ok(_) | Err(Unread::Malformed)) => return Outcome::Malformed,
        Ok(Err(Unread::NoRoom)) => return give_up(&mut send, &mut receive, EXCESSIVE_LOAD, Outcome::Done),
        Ok(Err(Unread::TakenBack)) | Err(_) => {
            return give_up(&mut send, &mut receive, REQUEST_CANCELLED, Outcome::Wasted);
        }
    };
    let reply = tokio::select! {
        reply = worker.exchange(&message, client) => reply,
        _ = send.stopped() => return give_up(&mut send, &mut receive, REQUEST_CANCELLED, Outcome::Wasted),
    };
    let Some(reply) = reply else {
        // What is no query gets no reply over UDP either; else there is none because the server is busy or ends.
        let is_query = Header::read(&message).is_some_and(|header| header.flags & QR == 0);
        return if is_query {
            give_up(&mut send, &mut receive, INTERNAL_ERROR, Outcome::Done)
        } else {
            Outcome::Malformed
        };
    };
    // No reply is longer than its limit. One that were cannot be told from another.
    let Ok(len) = u16::try_from(reply.message.len()) else {
        return give_up(&mut send, &mut receive, INTERNAL_ERROR, Outcome::Done);
    };
    let mut pieces = [Bytes::copy_from_slice(&len.to_be_bytes()), Bytes::from_owner(reply)];
    let written = timeout(WRITE, send.write_all_chunks(&mut pieces)).await;
    match written {
        Ok(Ok(())) => {}
        Ok(Err(WriteError::ConnectionLost(_))) => return Outcome::Done,
        Ok(Err(_)) | Err(_) => return give_up(&mut send, &mut receive, EXCESSIVE_LOAD, Outcome::Wasted),
    }
    let _ = send.finish();
    // The connection must not end before the client has its reply.
    tokio::select! {
        _ = timeout(WRITE, send.stopped()) => {}
        () = no_word_comes(worker, stop) => {}
    }
    Outcome::Done
}

/// Returns a moment after another process got what clients send, acknowledgements among it.
async fn no_word_comes(worker: &Worker, stop: &Stop) {
    stop.stopped().await;
    if !worker.shared.has_successor() {
        std::future::pending().await
    }
    sleep(FAREWELL).await;
}

/// Ends both directions of a stream.
fn give_up(send: &mut SendStream, receive: &mut RecvStream, code: VarInt, outcome: Outcome) -> Outcome {
    // Where the client did so before, there is nothing left to end.
    let _ = send.reset(code);
    let _ = receive.stop(code);
    outcome
}

/// Why there is no message.
enum Unread {
    /// The stream is none that a message may come in.
    Malformed,
    /// The client took it back.
    TakenBack,
    /// Too much waits already.
    NoRoom,
}

/// Reads a stream to its end: a message with its length in front, and nothing else.
async fn read_message(worker: &Worker, receive: &mut RecvStream) -> Result<Vec<u8>, Unread> {
    let mut room = worker.shared.connections.take_bytes(0).ok_or(Unread::NoRoom)?;
    let mut bytes = Vec::new();
    loop {
        match receive.read_chunk(STREAM_MAX as usize, true).await {
            Ok(Some(chunk)) => {
                if bytes.len() + chunk.bytes.len() > STREAM_MAX as usize {
                    return Err(Unread::Malformed);
                }
                if !room.grow(chunk.bytes.len()) {
                    return Err(Unread::NoRoom);
                }
                bytes.extend_from_slice(&chunk.bytes);
            }
            Ok(None) => break,
            Err(ReadError::Reset(_) | ReadError::ConnectionLost(_)) => return Err(Unread::TakenBack),
            Err(_) => return Err(Unread::Malformed),
        }
    }
    let (len, message) = bytes.split_first_chunk::<2>().ok_or(Unread::Malformed)?;
    if message.len() != usize::from(u16::from_be_bytes(*len)) || message.len() < HEADER_LEN {
        return Err(Unread::Malformed);
    }
    bytes.drain(..2);
    Ok(bytes)
}

/// Whether a message is one that may come over QUIC: with the ID 0 (RFC 9250 §4.2.1) and without the option that keeps TCP
/// connections open (§5.5.2).
fn is_allowed(message: &[u8]) -> bool {
    let mut name_buf = NameBuf::new();
    // What cannot be read is answered as it is over TCP.
    message.starts_with(&[0, 0]) && !Query::parse(message, &mut name_buf).is_ok_and(|query| query.has_tcp_keepalive())
}

/// The socket, which is read no more once another process reads it.
#[derive(Debug)]
struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
    is_deaf: AtomicBool,
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if self.is_deaf.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        self.inner.poll_recv(context, buffers, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}
