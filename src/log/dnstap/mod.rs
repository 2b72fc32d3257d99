//! dnstap: queries and responses as they were on the wire, for collectors, as Frame Streams to a Unix socket or a file.
//!
//! As with the log there is a bounded queue between the workers and a thread that writes. A worker copies two messages and
//! goes on; where the collector is slow, is not there, or the disk is full, messages are dropped and counted.
//!
//! Formats: dnstap.proto and Frame Streams of <https://dnstap.info>.

#![expect(clippy::disallowed_methods, reason = "the thread that writes owns its clock and its file")]

mod message;
mod stream;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use message::Encoder;
use stream::Stream;

use super::Recurring;
use super::backlog::{Backlog, wait_until_written};
use crate::wire::Transport;

/// Messages that wait to be written.
const WAITING_MAX: usize = 16 << 10;
/// Bytes of these.
const WAITING_BYTES_MAX: usize = 8 << 20;
/// Bytes that are written at once.
const BATCH: usize = 64 << 10;
/// Bytes of memory that dnstap takes: what waits, the places of the queue, two batches.
pub const DNSTAP_BYTES: usize = WAITING_BYTES_MAX + WAITING_MAX * 64 + 3 * BATCH;
/// How long nothing is opened after a failure.
const PAUSE: Duration = Duration::from_secs(1);

static UNWRITTEN: Recurring = Recurring::new();

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TapTarget {
    /// A Unix socket that a collector listens on.
    Socket(PathBuf),
    /// A file, which is replaced.
    File(PathBuf),
}

/// A query with what became of it.
#[derive(Debug)]
pub struct Tapped {
    /// The client's address.
    pub client: IpAddr,
    /// How the query came.
    pub transport: Transport,
    /// The query.
    pub query: Box<[u8]>,
    /// The response; empty where there is none.
    pub reply: Box<[u8]>,
    /// The source of the answer, or why there is none.
    pub outcome: &'static str,
    /// When it ended.
    pub ended: SystemTime,
    /// Time from the query to that.
    pub took: Duration,
}

impl Tapped {
    /// Bytes of memory.
    fn size(&self) -> usize {
        size_of::<Self>() + self.query.len() + self.reply.len()
    }
}

enum Item {
    Message(Box<Tapped>),
    /// The last: what is written is ended in good order.
    End(SyncSender<()>),
}

/// What the workers and the writing thread count.
#[derive(Debug, Default)]
struct Counts {
    backlog: Backlog,
    sent: AtomicU64,
}

/// The way to the collector.
#[derive(Debug)]
pub struct Tap {
    queue: SyncSender<Item>,
    counts: Arc<Counts>,
    /// One of so many queries is sent.
    share: u32,
}

impl Tap {
    /// Starts the thread that writes one of `share` queries. To be called when the process has given up what it need not
    /// have.
    ///
    /// # Errors
    /// The system's refusal to start a thread.
    pub fn start(target: TapTarget, identity: &str, share: u32) -> std::io::Result<Self> {
        let (queue, items) = sync_channel(WAITING_MAX);
        let counts = Arc::new(Counts::default());
        let mut writer = Writer { target, encoder: Encoder::new(identity), counts: counts.clone() };
        std::thread::Builder::new().name("dnstap".to_owned()).spawn(move || writer.run(&items))?;
        Ok(Self { queue, counts, share })
    }

    /// Whether the query with this number is one of those that are sent.
    #[inline]
    pub fn takes(&self, number: u32) -> bool {
        number.is_multiple_of(self.share.max(1))
    }

    /// Puts a message into the queue. It never waits.
    pub fn put(&self, tapped: Tapped) {
        let size = tapped.size();
        self.counts.backlog.put(Some(&self.queue), Item::Message(Box::new(tapped)), size, WAITING_BYTES_MAX);
    }

    /// Messages that were written, and those that were dropped.
    pub fn counts(&self) -> [u64; 2] {
        [self.counts.sent.load(Ordering::Relaxed), self.counts.backlog.dropped()]
    }

    /// Waits a moment until what was put is written, and ends the stream.
    pub fn finish(&self) {
        wait_until_written(&self.queue, Item::End);
    }
}

/// The thread that writes.
struct Writer {
    target: TapTarget,
    encoder: Encoder,
    counts: Arc<Counts>,
}

/// Why a stream is over.
enum Over {
    /// The process ends, or nothing can come any more.
    Ended(Option<SyncSender<()>>),
    Failed(std::io::Error),
}

impl Writer {
    fn run(&mut self, items: &Receiver<Item>) {
        loop {
            let over = match Stream::open(&self.target) {
                Ok(mut stream) => {
                    let over = self.carry(&mut stream, items);
                    if matches!(over, Over::Ended(_)) {
                        // The collector may be gone by now.
                        let _ = stream.close();
                    }
                    over
                }
                Err(error) => Over::Failed(error),
            };
            let done = match over {
                Over::Ended(done) => Some(done),
                Over::Failed(error) => {
                    if let Some(unsaid) = UNWRITTEN.due() {
                        tracing::warn!(%error, unsaid, "cannot write dnstap; dropping messages");
                    }
                    self.drop_for(PAUSE, items)
                }
            };
            if let Some(done) = done {
                done.map(|done| done.send(()));
                return;
            }
        }
    }

    /// Writes messages as they come.
    fn carry(&mut self, stream: &mut Stream, items: &Receiver<Item>) -> Over {
        let mut batch = Vec::with_capacity(BATCH);
        while let Ok(first) = items.recv() {
            let (mut next, mut end, mut count) = (Some(first), None, 0);
            while let Some(item) = next.take() {
                match item {
                    Item::Message(tapped) => {
                        self.counts.backlog.taken(tapped.size());
                        stream::push_frame(&mut batch, self.encoder.encode(&tapped));
                        count += 1;
                    }
                    Item::End(done) => end = Some(done),
                }
                if batch.len() < BATCH && end.is_none() {
                    next = items.try_recv().ok();
                }
            }
            if let Err(error) = stream.write(&batch) {
                self.counts.backlog.count_dropped(count);
                return match end {
                    Some(done) => Over::Ended(Some(done)),
                    None => Over::Failed(error),
                };
            }
            self.counts.sent.fetch_add(count, Ordering::Relaxed);
            batch.clear();
            if end.is_some() {
                return Over::Ended(end);
            }
        }
        Over::Ended(None)
    }

    /// Drops what comes for so long. Gives whom to tell where the process ends meanwhile.
    fn drop_for(&self, pause: Duration, items: &Receiver<Item>) -> Option<Option<SyncSender<()>>> {
        let until = Instant::now() + pause;
        loop {
            match items.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Item::Message(tapped)) => {
                    self.counts.backlog.taken(tapped.size());
                    self.counts.backlog.count_dropped(1);
                }
                Ok(Item::End(done)) => return Some(Some(done)),
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => return Some(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tapped(len: usize) -> Tapped {
        Tapped {
            client: "10.0.0.1".parse().unwrap(),
            transport: Transport::Udp,
            query: vec![0; len].into(),
            reply: Box::default(),
            outcome: "record",
            ended: SystemTime::UNIX_EPOCH,
            took: Duration::ZERO,
        }
    }

    #[test]
    fn the_queue_is_bounded_in_bytes_and_never_waits() {
        // Nobody listens there, and nothing is taken out of the queue.
        let (queue, items) = sync_channel(WAITING_MAX);
        let tap = Tap { queue, counts: Arc::default(), share: 1 };
        for _ in 0..1000 {
            tap.put(tapped(60_000));
        }
        let kept = items.try_iter().count();
        assert!((130..=139).contains(&kept), "{kept} of 60,000 bytes in 8 MiB");
        assert_eq!(tap.counts(), [0, 1000 - kept as u64]);
        assert!(tap.counts.backlog.bytes() <= WAITING_BYTES_MAX);
        for _ in 0..2 * WAITING_MAX {
            tap.put(tapped(1));
        }
        assert!(items.try_iter().count() <= WAITING_MAX);
    }

    #[test]
    fn one_of_so_many_is_taken() {
        let (queue, _items) = sync_channel(1);
        let tap = |share| Tap { queue: queue.clone(), counts: Arc::default(), share };
        assert_eq!((0..1000).filter(|&number| tap(10).takes(number)).count(), 100);
        assert!((0..10).all(|number| tap(1).takes(number)));
    }
}
