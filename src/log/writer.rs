//! The queue of lines and the thread that writes them.

#![expect(clippy::disallowed_methods, reason = "the thread that writes owns its clock")]

use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

use super::backlog::{Backlog, wait_until_written};
use crate::wire::Rtype;
use crate::wire::header::{HEADER_LEN, Rcode};
use crate::wire::name::{Name, wire_len};

/// Lines that wait to be written.
const WAITING_MAX: usize = 4096;
/// Bytes of these.
pub const WAITING_BYTES_MAX: usize = 8 << 20;
/// Bytes that are written at once.
const WRITE_BATCH: usize = 64 << 10;
/// How long nothing is written after a write failed.
const PAUSE: Duration = Duration::from_millis(500);

static QUEUE: OnceLock<SyncSender<Item>> = OnceLock::new();
static WAITING: Mutex<Option<Receiver<Item>>> = Mutex::new(None);
static BACKLOG: Backlog = Backlog::new();

enum Item {
    Line(Vec<u8>),
    Query(Box<QueryLine>),
    Flush(SyncSender<()>),
}

/// A query for the log.
#[derive(Debug)]
pub struct QueryLine {
    /// Who asked.
    pub client: IpAddr,
    /// By which transport.
    pub transport: &'static str,
    /// The message's bytes.
    pub query: Box<[u8]>,
    /// The type asked for, where it can be read.
    pub rtype: Option<Rtype>,
    /// What became of it: the source of the answer, or why there is none.
    pub outcome: &'static str,
    /// The RCODE of the response, where there is one. Without those bits of it that are in the OPT record.
    pub rcode: Option<Rcode>,
    /// Zone of the rule that the name belongs to, where upstreams are responsible for the answer.
    pub rule: Option<String>,
    /// Time from the query to the response.
    pub duration: Duration,
    /// Whether it is there for debugging, and not by sample.
    pub is_debug: bool,
}

/// How many lines were dropped, because they were not read or could not be written.
pub fn dropped() -> u64 {
    BACKLOG.dropped()
}

/// Puts a query into the log.
pub fn query(line: QueryLine) {
    put(Item::Query(Box::new(line)));
}

/// Waits a moment until what was said is written.
pub fn finish() {
    write();
    if let Some(queue) = QUEUE.get() {
        wait_until_written(queue, Item::Flush);
    }
}

/// Makes the queue.
pub(super) fn start() {
    let (sender, items) = sync_channel(WAITING_MAX);
    if QUEUE.set(sender).is_ok() {
        *WAITING.lock() = Some(items);
    }
}

/// Starts the thread that writes. To be called when the process has given up what it need not have: threads that run
/// already would keep it.
pub fn write() {
    let items = WAITING.lock().take();
    if let Some(items) = items {
        // Without the thread the queue fills up, and lines are lost and counted.
        let _ = std::thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(&items));
    }
}

fn put(item: Item) {
    let bytes = item.bytes();
    BACKLOG.put(QUEUE.get(), item, bytes, WAITING_BYTES_MAX);
}

impl Item {
    /// What it takes while it waits, but for itself.
    fn bytes(&self) -> usize {
        match self {
            Self::Line(line) => line.len(),
            Self::Query(line) => size_of::<QueryLine>() + line.query.len() + line.rule.as_ref().map_or(0, String::len),
            Self::Flush(_) => 0,
        }
    }
}

fn write_lines(items: &Receiver<Item>) {
    let mut output = Output::new(io::stderr());
    while let Ok(first) = items.recv() {
        let mut next = Some(first);
        let mut flushed = None;
        let is_paused = output.is_paused(Instant::now());
        while let Some(item) = next.take() {
            BACKLOG.taken(item.bytes());
            match item {
                Item::Flush(done) => flushed = Some(done),
                Item::Line(_) | Item::Query(_) if is_paused => BACKLOG.count_dropped(1),
                Item::Line(line) => output.take(&line),
                Item::Query(line) => say_query(&line),
            }
            if output.has_room() && flushed.is_none() {
                next = items.try_recv().ok();
            }
        }
        if let Some(dropped) = output.write(Instant::now()) {
            tracing::warn!(lines = dropped, "log lines dropped: output too slow");
        }
        if let Some(done) = flushed {
            let _ = done.send(());
        }
    }
}

/// What the lines are written to: standard error, which may be a full disk or a pipe without a reader.
struct Output<W> {
    to: W,
    batch: Vec<u8>,
    /// Lines in the batch.
    lines: u64,
    /// How many lost lines were reported.
    reported: u64,
    /// Until when nothing is written, because the last write failed.
    paused_until: Option<Instant>,
}

impl<W: Write> Output<W> {
    fn new(to: W) -> Self {
        Self { to, batch: Vec::new(), lines: 0, reported: dropped(), paused_until: None }
    }

    /// Whether the last write failed a moment ago: lines are dropped and counted until then, for each attempt to write
    /// them would cost as much as writing does.
    fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    fn take(&mut self, line: &[u8]) {
        self.batch.extend_from_slice(line);
        self.lines += 1;
    }

    fn has_room(&self) -> bool {
        self.batch.len() < WRITE_BATCH
    }

    /// Writes the batch; gives how many lines were lost since the last report, once a write succeeds. Only then: a report
    /// that cannot be written would be lost as well, and reported again, without end.
    fn write(&mut self, now: Instant) -> Option<u64> {
        if self.batch.is_empty() {
            return None;
        }
        let outcome = self.to.write_all(&self.batch);
        let lines = std::mem::take(&mut self.lines);
        self.batch.clear();
        if outcome.is_err() {
            BACKLOG.count_dropped(lines);
            self.paused_until = Some(now + PAUSE);
            return None;
        }
        self.paused_until = None;
        let lost = dropped().saturating_sub(self.reported);
        self.reported += lost;
        (lost > 0).then_some(lost)
    }
}

/// Comes back into the queue as a line.
fn say_query(line: &QueryLine) {
    let name = line.query.get(HEADER_LEN..).and_then(|question| {
        let len = wire_len(question)?;
        Name::from_wire(question.get(..len)?)
    });
    macro_rules! log_at {
        ($level:expr) => {
            tracing::event!(
                $level,
                client = %line.client,
                transport = line.transport,
                name = name.map(|name| name.to_string()),
                rtype = line.rtype.map(|rtype| rtype.to_string()),
                outcome = line.outcome,
                rcode = line.rcode.map(|rcode| rcode.to_string()),
                rule = line.rule,
                duration_us = u64::try_from(line.duration.as_micros()).unwrap_or(u64::MAX),
                "query"
            )
        };
    }
    if line.is_debug { log_at!(tracing::Level::DEBUG) } else { log_at!(tracing::Level::INFO) }
}

/// Where the lines of the log go.
pub(super) struct Lines;

/// One line: the formatter writes it whole.
pub(super) struct Line;

impl<'l> MakeWriter<'l> for Lines {
    type Writer = Line;

    fn make_writer(&'l self) -> Line {
        Line
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        put(Item::Line(bytes.to_vec()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails as often as `failures` says, then takes what it is given.
    struct Broken {
        failures: usize,
        writes: usize,
        taken: Vec<u8>,
    }

    impl Write for Broken {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.writes += 1;
            if self.writes <= self.failures {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.taken.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lost_lines_are_reported_once_writing_works_and_never_before() {
        let start = Instant::now();
        let mut output = Output::new(Broken { failures: 2, writes: 0, taken: Vec::new() });
        for attempt in 0..2 {
            let now = start + PAUSE * attempt;
            assert!(!output.is_paused(now));
            output.take(b"one\n");
            output.take(b"two\n");
            assert_eq!(output.write(now), None, "a report would be lost like the lines, and reported without end");
            assert!(output.is_paused(now) && output.is_paused(now + PAUSE - Duration::from_millis(1)));
        }
        assert_eq!(output.write(start), None, "nothing to write, so no attempt");
        output.take(b"three\n");
        assert!(output.write(start + PAUSE * 2).is_some_and(|lost| lost >= 4));
        assert!(!output.is_paused(start + PAUSE * 2));
        assert_eq!((output.to.writes, &*output.to.taken), (3, &b"three\n"[..]));
    }
}
