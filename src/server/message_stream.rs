//! A connection that carries messages with their length in front (RFC 1035 §4.2.2), pipelined and answered out of order (RFC 7766).
//!
//! Most connections wait most of the time. One that does has no buffer: it reads into one of its worker, answers what is whole, and
//! keeps what is left of a message that is not. A query takes a place before it is answered, so that a client that does not read its
//! answers is not read from either.

use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until};

use super::outgoing::{Outgoing, Written};
use super::waiter::ReplyPath;
use super::worker::{StreamBuffers, Worker};
use crate::engine::Client;

/// How long a message may take from its first byte to its last.
const MESSAGE: Duration = Duration::from_secs(3);
/// How long so many bytes of replies may take to be written, and the end of the connection.
const WRITE: Duration = Duration::from_secs(3);
/// Bytes of replies for which there is that time.
const WRITE_BATCH: usize = 64 << 10;
/// Queries of one connection that are answered at the same time.
const IN_FLIGHT_MAX: u32 = 128;
/// Bytes of a buffer for replies that a worker keeps for its connections: one of them may have it for a while.
const KEPT_BYTES: usize = 4096;
/// Bytes of the length in front of a message.
const PREFIX_LEN: usize = 2;

/// A connection with its client.
pub(super) struct MessageStream<'w, S> {
    worker: &'w Rc<Worker>,
    client: Client,
    stream: S,
    outgoing: Arc<Outgoing>,
    /// What was read and not answered: part of a message, or whole ones that wait for places.
    rest: Vec<u8>,
    /// Messages that are still read.
    messages_left: usize,
    /// When the message of `rest` began to come, or else when anything was last done.
    since: Instant,
    sending: Sending,
    phase: Phase,
}

/// Replies on their way into the socket.
struct Sending {
    written: Written,
    /// Bytes of these that are in it.
    done: usize,
    /// When the last batch of bytes began to be written.
    since: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Messages are read.
    Reading,
    /// None is read any more; what is pending is answered.
    Ending,
    /// The end is being written.
    Closing,
}

impl<'w, S: AsyncRead + AsyncWrite + Unpin> MessageStream<'w, S> {
    /// A connection on which so many messages are read at most.
    pub(super) fn new(worker: &'w Rc<Worker>, client: Client, stream: S, messages_max: usize) -> Self {
        let now = Instant::now();
        Self {
            worker,
            client,
            stream,
            outgoing: Outgoing::new(&worker.shared.connections),
            rest: Vec::new(),
            messages_left: messages_max,
            since: now,
            sending: Sending { written: Written::default(), done: 0, since: now },
            phase: Phase::Reading,
        }
    }

    /// Serves it to its end.
    pub(super) async fn serve(&mut self) {
        let mut timer = pin!(sleep_until((self.since + self.worker.shared.connections.idle_time()).into()));
        let mut last = pin!(self.worker.shared.last_messages());
        std::future::poll_fn(|context| {
            if self.phase == Phase::Reading && last.as_mut().poll(context).is_ready() {
                self.phase = Phase::Ending;
            }
            // A client that does not read, or is gone, ends it.
            self.poll(context, timer.as_mut()).map(drop)
        })
        .await;
    }

    fn poll(&mut self, context: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<io::Result<()>> {
        loop {
            let pending = self.outgoing.take(&mut self.sending.written);
            let is_written = self.poll_write(context)?.is_ready();
            let in_flight = pending + self.sending.written.replies;
            match self.phase {
                Phase::Reading if in_flight < IN_FLIGHT_MAX => {
                    if self.poll_read(context, IN_FLIGHT_MAX - in_flight).is_ready() {
                        continue;
                    }
                }
                Phase::Ending if in_flight == 0 && is_written => {
                    (self.phase, self.sending.since) = (Phase::Closing, Instant::now());
                    continue;
                }
                Phase::Closing => {
                    if let Poll::Ready(ended) = Pin::new(&mut self.stream).poll_shutdown(context) {
                        return Poll::Ready(ended);
                    }
                }
                Phase::Reading | Phase::Ending => {}
            }
            if self.is_late(context, timer.as_mut(), in_flight)? {
                self.phase = Phase::Ending;
            } else if self.outgoing.sleep(context.waker()) {
                return Poll::Pending;
            }
        }
    }

    /// Writes to its end what is being written.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Sending { written, done, since } = &mut self.sending;
        if written.replies == 0 {
            return Poll::Ready(Ok(()));
        }
        if *done == 0 {
            *since = Instant::now();
        }
        while let Some(rest) = written.bytes.get(*done..).filter(|rest| !rest.is_empty()) {
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if (*done + count) / WRITE_BATCH > *done / WRITE_BATCH {
                *since = Instant::now();
            }
            *done += count;
        }
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.outgoing.written(*done);
        (written.replies, *done) = (0, 0);
        let mut bytes = std::mem::take(&mut written.bytes);
        let spare = &mut self.worker.stream_buffers.borrow_mut().output;
        if bytes.capacity() <= KEPT_BYTES && bytes.capacity() > spare.capacity() {
            bytes.clear();
            *spare = bytes;
        }
        if self.rest.is_empty() {
            self.since = Instant::now();
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what is there, as many messages at most as there are places for; ready where there may be more to do.
    fn poll_read(&mut self, context: &mut Context<'_>, places: u32) -> Poll<()> {
        let worker = self.worker;
        let StreamBuffers { input, reply, output } = &mut *worker.stream_buffers.borrow_mut();
        let missing = missing(&self.rest).unwrap_or(input.len()).min(input.len());
        let mut came = ReadBuf::new(input.get_mut(..missing).unwrap_or_default());
        if missing > 0 {
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut came));
            if read.is_err() || came.filled().is_empty() {
                self.phase = Phase::Ending;
                return Poll::Ready(());
            }
        }
        let is_begun = !self.rest.is_empty();
        let mut rest = std::mem::take(&mut self.rest);
        let came = if is_begun {
            append(&mut rest, came.filled());
            &rest
        } else {
            came.filled()
        };
        self.outgoing.lend(output);
        let taken = self.answer(came, places, reply);
        if taken > 0 || !is_begun {
            self.since = Instant::now();
        }
        self.rest = match came.get(taken..) {
            Some(left) if taken > 0 || !is_begun => left.to_vec(),
            _ => rest,
        };
        Poll::Ready(())
    }

    /// Takes messages that are whole, as long as there are places; gives how many bytes these are.
    fn answer(&mut self, bytes: &[u8], mut places: u32, reply: &mut Vec<u8>) -> usize {
        let mut left = bytes;
        while places > 0
            && self.messages_left > 0
            && let Some((message, after)) = first_message(left)
        {
            self.worker.take(message, self.client, ReplyPath::Stream(self.outgoing.place()), reply);
            reply.clear();
            reply.shrink_to(KEPT_BYTES);
            left = after;
            places -= 1;
            self.messages_left -= 1;
        }
        if self.messages_left == 0 {
            self.phase = Phase::Ending;
        }
        bytes.len() - left.len()
    }

    /// Whether the client has been silent, or its message incomplete, for too long.
    ///
    /// # Errors
    /// It does not take what is written.
    fn is_late(&self, context: &mut Context<'_>, mut timer: Pin<&mut Sleep>, in_flight: u32) -> io::Result<bool> {
        let is_writing = self.sending.written.replies > 0 || self.phase == Phase::Closing;
        let write = is_writing.then(|| self.sending.since + WRITE);
        let read = match missing(&self.rest) {
            _ if self.phase != Phase::Reading => None,
            // Those that wait for places are not its fault.
            Some(0) => None,
            Some(_) => Some(self.since + MESSAGE),
            None if in_flight > 0 => None,
            None => Some(self.since + self.worker.shared.connections.idle_time()),
        };
        let Some(deadline) = write.into_iter().chain(read).min() else { return Ok(false) };
        // It is set again when it went off: not with each message.
        if timer.deadline() > deadline.into() {
            timer.as_mut().reset(deadline.into());
        }
        while timer.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            if write.is_some_and(|write| write <= now) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if deadline <= now {
                return Ok(true);
            }
            timer.as_mut().reset(deadline.into());
        }
        Ok(false)
    }
}

impl<S> Drop for MessageStream<'_, S> {
    fn drop(&mut self) {
        self.outgoing.close();
    }
}

/// How many bytes are missing of the first message, none where it is whole; `None` where nothing of it is known but a part of its
/// length at most.
fn missing(bytes: &[u8]) -> Option<usize> {
    let (prefix, message) = bytes.split_first_chunk::<PREFIX_LEN>()?;
    Some(usize::from(u16::from_be_bytes(*prefix)).saturating_sub(message.len()))
}

/// The first message, where it is whole, and what comes after it.
fn first_message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (prefix, rest) = bytes.split_first_chunk::<PREFIX_LEN>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*prefix)))
}

/// Appends what came of a message: with room for that, not for what its length promises, and never for more than that.
fn append(message: &mut Vec<u8>, came: &[u8]) {
    let missing = missing(message).unwrap_or(came.len());
    if message.capacity() - message.len() < came.len() {
        message.reserve_exact(missing.min(message.len()).max(came.len()));
    }
    message.extend_from_slice(came);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_apart_at_their_lengths() {
        assert_eq!(first_message(b""), None);
        assert_eq!(first_message(b"\0"), None);
        assert_eq!(first_message(b"\0\0"), Some((&b""[..], &b""[..])));
        assert_eq!(first_message(b"\0\x02a"), None);
        assert_eq!(first_message(b"\0\x02ab\0"), Some((&b"ab"[..], &b"\0"[..])));
        for (bytes, expected) in
            [(&b""[..], None), (b"\0", None), (b"\0\0", Some(0)), (b"\0\x02a", Some(1)), (b"\x01\0a", Some(255))]
        {
            assert_eq!(missing(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_message_that_comes_in_pieces_never_takes_more_room_than_it_is_long() {
        let mut message = vec![0xff];
        append(&mut message, &[0xff]);
        for piece in [1, 1, 100, 16_384, 16_384, 16_384, 10_000] {
            append(&mut message, &vec![7; piece]);
            assert!(message.capacity() <= PREFIX_LEN + 0xffff, "{}", message.capacity());
        }
        let left = missing(&message).unwrap();
        append(&mut message, &vec![7; left]);
        assert_eq!((missing(&message), message.len()), (Some(0), PREFIX_LEN + 0xffff));
        assert!(message.capacity() <= PREFIX_LEN + 0xffff);
    }
}
