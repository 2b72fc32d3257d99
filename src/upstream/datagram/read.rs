//! Datagrams from upstreams: read by one thread of a worker from the sockets of all of them.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use mio::Token;

use super::{DatagramSockets, FRESH, KIND_BITS, POOLED, Place, Received, Source};
use crate::forward::Arrival;
use crate::sys::Inbox;
use crate::upstream::fresh::Reading;
use crate::upstream::pool::Recipient;
use crate::wire::UpstreamMessage;
use crate::wire::edns::UDP_PAYLOAD_MAX;

/// Bytes of a datagram that are received: no more than was advertised (RFC 6891 §6.2.3). What is longer is not intact, and
/// of that only this much is looked at.
const DATAGRAM_MAX: usize = UDP_PAYLOAD_MAX as usize;
/// Bytes of a datagram that is not intact which are handed on: header and question.
const BEGINNING_MAX: usize = 512;
/// Bytes of datagrams that wait to be processed, before more sockets are read.
const RECEIVED_MAX: usize = 1 << 20;
/// Datagrams of one fresh socket that are read at once, where they are not its query's answer.
const READS_MAX: usize = 16;
/// How large the buffer of a message may be whose memory is kept to be used again.
const SPARE_MAX: usize = 2048;

/// What the thread reads with that watches a worker's sockets.
pub struct Reader {
    sockets: Arc<DatagramSockets>,
    /// Sockets that may have something to read.
    ready: Vec<Place>,
    buffer: Box<[u8]>,
    inbox: Inbox,
    /// Datagrams with a wrong ID that were not reported.
    ignored: u64,
}

/// Messages that are done with, whose memory is used again: one moves as a pointer, and costs no allocation.
#[expect(clippy::vec_box, reason = "what is kept is the allocation of each")]
pub struct Spares {
    messages: Vec<Box<UpstreamMessage>>,
    most: usize,
}

impl Spares {
    /// None yet, and never more than `most`.
    pub fn new(most: usize) -> Self {
        Self { messages: Vec::new(), most }
    }

    fn arrival(&mut self, datagram: &[u8], is_intact: bool) -> Arrival {
        if !is_intact {
            return Arrival::Damaged(datagram.get(..BEGINNING_MAX).unwrap_or(datagram).to_vec());
        }
        let Some(mut message) = self.messages.pop() else {
            return Arrival::Message(Box::new(UpstreamMessage::read(datagram.to_vec())));
        };
        message.read_again(datagram);
        Arrival::Message(message)
    }

    /// A message that is not needed any more.
    pub fn take_back(&mut self, message: Box<UpstreamMessage>) {
        if self.messages.len() < self.most && message.bytes.capacity() <= SPARE_MAX {
            self.messages.push(message);
        }
    }
}

impl Reader {
    /// For these sockets; there is one for each.
    pub fn new(sockets: Arc<DatagramSockets>) -> Self {
        let buffer = vec![0; DATAGRAM_MAX].into_boxed_slice();
        Self { sockets, ready: Vec::new(), buffer, inbox: Inbox::new(DATAGRAM_MAX), ignored: 0 }
    }

    /// Notes that the socket with this token is readable. Returns the number given to [`token_beside`](super::token_beside) where the
    /// token is from there.
    pub fn note_ready(&mut self, token: Token) -> Option<usize> {
        let number = token.0 >> KIND_BITS;
        let place = match token.0 & ((1 << KIND_BITS) - 1) {
            FRESH => Place::Fresh(number),
            POOLED => Place::Pooled(number),
            _ => return Some(number),
        };
        self.ready.push(place);
        None
    }

    /// Whether a socket may have something to read that the poll will not tell of again.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Reads sockets that are ready into `received`, in the memory of `spares`, so many that a bounded number of bytes waits to be processed.
    pub fn read(&mut self, received: &mut Vec<Received>, spares: &mut Spares) {
        let mut ready = std::mem::take(&mut self.ready);
        let mut bytes = 0;
        for place in ready.drain(..) {
            if bytes > RECEIVED_MAX {
                self.ready.push(place);
                continue;
            }
            let before = received.len();
            match place {
                Place::Fresh(at) => self.read_fresh(at, received, spares),
                Place::Pooled(at) => self.read_pooled(at, received, spares),
            }
            bytes += received.iter().skip(before).map(Received::len).sum::<usize>();
        }
        if self.ready.is_empty() {
            self.ready = ready;
        }
    }

    /// How many datagrams with a wrong ID came since the last call, beyond the first of each query.
    pub fn take_ignored(&mut self) -> u64 {
        std::mem::take(&mut self.ignored)
    }

    /// What was received was not the end of its query: its socket may have more.
    pub fn listen_on(&mut self, Source(place, _): Source) {
        if matches!(place, Place::Fresh(_)) {
            self.ready.push(place);
        }
    }

    /// What was received was the end of its query.
    pub fn close(&self, Source(place, id): Source) {
        match place {
            Place::Fresh(at) => self.sockets.fresh.close(at, id),
            Place::Pooled(at) => {
                if let Some(socket) = self.sockets.pooled(at) {
                    socket.close(id);
                }
            }
        }
    }

    /// Reads one datagram: as a rule it is the answer, and its query done with. Those with another ID are counted, and the
    /// first of them is reported.
    fn read_fresh(&mut self, at: usize, received: &mut Vec<Received>, spares: &mut Spares) {
        let place = Place::Fresh(at);
        for _ in 0..READS_MAX {
            let Some((id, outcome)) = self.sockets.fresh.receive(at, &mut self.buffer) else { return };
            let outcome = match outcome {
                Ok(Reading::Match(arrived)) => {
                    let bytes = self.buffer.get(..arrived.len).unwrap_or_default();
                    Ok(spares.arrival(bytes, arrived.is_intact))
                }
                Ok(Reading::WrongId { is_first: false }) => {
                    self.ignored += 1;
                    continue;
                }
                Ok(Reading::WrongId { is_first: true }) => {
                    received.push(Received { place, id, outcome: Ok(Arrival::WrongId) });
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => break,
                Err(error) => Err(error),
            };
            return received.push(Received { place, id, outcome });
        }
        self.ready.push(place);
    }

    fn read_pooled(&mut self, at: usize, received: &mut Vec<Received>, spares: &mut Spares) {
        let Some(pooled) = self.sockets.pooled(at) else { return };
        let place = Place::Pooled(at);
        let ignored = &mut self.ignored;
        // What comes for a question alone is its answer as a rule, and no look at what else there is.
        let (room, is_alone) = if pooled.ids().are_one() { (1, true) } else { (Inbox::ROOM, false) };
        match self.inbox.receive(pooled.socket.as_fd(), room) {
            Ok(datagrams) => {
                let is_full = datagrams.len() == room;
                let mut ids = pooled.ids();
                let (mut is_guessed, mut is_answered) = (false, false);
                for (datagram, is_intact) in datagrams {
                    match ids.recipient(datagram) {
                        Recipient::One(id) => {
                            is_answered |= is_intact;
                            received.push(Received { place, id, outcome: Ok(spares.arrival(datagram, is_intact)) });
                        }
                        Recipient::Guess => {
                            *ignored += 1;
                            is_guessed = true;
                        }
                        Recipient::Unknown => {}
                    }
                }
                if is_full && !(is_alone && is_answered) {
                    self.ready.push(place);
                }
                if is_guessed {
                    // From here on no other question is concerned.
                    pooled.retire();
                    let told = |id| Received { place, id, outcome: Ok(Arrival::WrongId) };
                    received.extend(ids.take_unmarked().map(told));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.ready.push(place),
            Err(error) => {
                let failed = |id| Received { place, id, outcome: Err(error.kind().into()) };
                received.extend(pooled.fail().into_iter().map(failed));
            }
        }
    }
}
