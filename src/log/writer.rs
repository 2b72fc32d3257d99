//! The queue of lines and the thread that writes them.

use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use crate::wire::Rtype;
use crate::wire::header::HEADER_LEN;
use crate::wire::name::{Name, wire_len};

/// Lines that wait to be written.
const WAITING_MAX: usize = 4096;
/// Octets of these.
pub const WAITING_OCTETS_MAX: usize = 8 << 20;
/// Octets that are written at once.
const WRITE_BATCH: usize = 64 << 10;
/// How long the end of the process waits for the last lines.
const LAST: Duration = Duration::from_secs(1);

static QUEUE: OnceLock<SyncSender<Item>> = OnceLock::new();
static WAITING: Mutex<Option<Receiver<Item>>> = Mutex::new(None);
static LOST: AtomicU64 = AtomicU64::new(0);
/// Octets of the lines that wait.
static OCTETS: AtomicUsize = AtomicUsize::new(0);

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
    /// The message's octets.
    pub query: Box<[u8]>,
    /// The type asked for, where it can be read.
    pub rtype: Option<Rtype>,
    /// What became of it.
    pub outcome: &'static str,
}

/// How many lines were lost, because nobody read them or they could not be written.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Puts a query into the log.
pub fn query(line: QueryLine) {
    put(Item::Query(Box::new(line)));
}

/// Waits a moment until what was said is written.
pub fn finish() {
    write();
    let (done, waiting) = sync_channel(1);
    if let Some(queue) = QUEUE.get()
        && queue.try_send(Item::Flush(done)).is_ok()
    {
        let _ = waiting.recv_timeout(LAST);
    }
}

/// Makes the queue.
pub(super) fn start() {
    let (sender, items) = sync_channel(WAITING_MAX);
    if QUEUE.set(sender).is_ok() {
        *WAITING.lock().unwrap_or_else(PoisonError::into_inner) = Some(items);
    }
}

/// Starts the thread that writes. To be called when the process has given up what it need not have: threads that run
/// already would keep it.
pub fn write() {
    let items = WAITING.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(items) = items {
        // Without the thread the queue fills up, and lines are lost and counted.
        let _ = std::thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(&items));
    }
}

fn put(item: Item) {
    let octets = item.octets();
    let before = OCTETS.fetch_add(octets, Ordering::Relaxed);
    let has_room = before + octets <= WAITING_OCTETS_MAX;
    if !has_room || QUEUE.get().is_none_or(|queue| queue.try_send(item).is_err()) {
        OCTETS.fetch_sub(octets, Ordering::Relaxed);
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

impl Item {
    /// What it takes while it waits, but for itself.
    fn octets(&self) -> usize {
        match self {
            Self::Line(line) => line.len(),
            Self::Query(line) => size_of::<QueryLine>() + line.query.len(),
            Self::Flush(_) => 0,
        }
    }
}

fn write_lines(items: &Receiver<Item>) {
    let mut octets = Vec::new();
    let mut lines = 0;
    let mut told = 0;
    while let Ok(first) = items.recv() {
        let mut next = Some(first);
        let mut flushed = None;
        while let Some(item) = next.take() {
            OCTETS.fetch_sub(item.octets(), Ordering::Relaxed);
            match item {
                Item::Line(line) => {
                    octets.extend_from_slice(&line);
                    lines += 1;
                }
                Item::Query(line) => say_query(&line),
                Item::Flush(done) => flushed = Some(done),
            }
            if octets.len() < WRITE_BATCH && flushed.is_none() {
                next = items.try_recv().ok();
            }
        }
        if io::stderr().lock().write_all(&octets).is_err() {
            LOST.fetch_add(lines, Ordering::Relaxed);
        }
        octets.clear();
        lines = 0;
        if let Some(done) = flushed {
            let _ = done.send(());
        }
        let lost = lost();
        if lost > told {
            tracing::warn!(lines = lost - told, "log lines were lost: they came faster than they were read");
            told = lost;
        }
    }
}

/// Comes back into the queue as a line.
fn say_query(line: &QueryLine) {
    let name = line.query.get(HEADER_LEN..).and_then(|question| {
        let len = wire_len(question)?;
        Name::from_wire(question.get(..len)?)
    });
    tracing::info!(
        client = %line.client,
        transport = line.transport,
        name = name.map(|name| name.to_string()),
        rtype = line.rtype.map(|rtype| rtype.to_string()),
        outcome = line.outcome,
        "query"
    );
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
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        put(Item::Line(octets.to_vec()));
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
