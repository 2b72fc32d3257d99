//! What a configuration can use at most, octets, part by part. Each part has its bound in the code that it names.

use std::collections::HashSet;

use super::http;
use crate::config::Settings;
use crate::engine::CHAIN_MEMORY_MAX;
use crate::forward::{OUTSTANDING_MAX, REMEMBERED_OCTETS_MAX, WAITING_MAX};
use crate::log;
use crate::reload::Loaded;
use crate::server::{CLIENTS_BYTES, Connections, TLS_BYTES};
use crate::sys::RECEIVE_BUFFER;

/// What the program takes before it has anything to keep.
const PROGRAM: u64 = 24 << 20;
/// What a worker takes: its stack, runtime, counters, and what it reads from upstreams.
const WORKER: u64 = 4 << 20;
/// What it takes for each address: a batch of datagrams, with the longest set of records put together in each reply's place
/// (`sys/batch.rs`).
const BATCHES: u64 = 5 << 20;
/// What reading takes for each octet of a records file, measured: the text, its tree, records, and what the allocator keeps
/// of that until the next reading.
const READING: u64 = 40;
/// What an outstanding question takes (`forward/outstanding.rs`): itself, its tries with a socket each, timers, its place
/// in lines.
const QUESTION: u64 = 4 << 10;
/// What a query takes that waits (`server/shared.rs`): its essence, its places.
const WAITING: u64 = 1 << 10;
/// What the connections of a worker to one upstream take (`upstream/stream.rs`): two with a thousand queries each, and
/// some with one.
const UPSTREAM: u64 = 4 << 20;
/// Places of the log's queue, and what is written at once (`log/writer.rs`).
const LOG: u64 = 1 << 20;

/// The parts of the bound by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryBound(pub Vec<(&'static str, u64)>);

impl MemoryBound {
    /// The bound of `settings` with what was `loaded` by them and as many workers. While a reload is under way there are
    /// two tables, and the texts of the new one.
    pub fn of(settings: &Settings, loaded: &Loaded, workers: usize) -> Self {
        let workers = workers as u64;
        let addresses = settings.listen.dns.len() as u64;
        let is_encrypted = settings.listen.is_encrypted();
        let encryption = if is_encrypted { (settings.listen.connections * TLS_BYTES) as u64 } else { 0 };
        let upstreams: HashSet<_> = settings.forwards.iter().flat_map(|rule| &rule.upstreams).collect();
        Self(vec![
            ("program", PROGRAM),
            ("workers", workers * (WORKER + CLIENTS_BYTES as u64 + addresses * BATCHES)),
            ("table, twice during a reload", loaded.table.memory() as u64 * 2),
            ("reading of records", loaded.record_octets as u64 * READING),
            ("cache", settings.cache.max_size),
            ("connections of clients", Connections::memory_max(settings.listen.connections) as u64),
            ("their encryption", encryption),
            (
                "requests by HTTPS",
                if settings.listen.https.is_empty() { 0 } else { Connections::REQUESTS_MEMORY_MAX as u64 },
            ),
            ("questions under way", OUTSTANDING_MAX as u64 * QUESTION),
            ("queries that wait for them", WAITING_MAX as u64 * WAITING),
            ("chains that they have followed so far", CHAIN_MEMORY_MAX as u64),
            ("failures remembered", REMEMBERED_OCTETS_MAX as u64),
            ("connections to upstreams", upstreams.len() as u64 * workers * UPSTREAM),
            ("admin and health pages", http::MEMORY_MAX as u64),
            ("log", log::WAITING_OCTETS_MAX as u64 + LOG),
        ])
    }

    /// All parts together.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, octets)| octets).sum()
    }

    /// What the kernel may keep of datagrams that were not read yet, octets: it counts twice what is asked for.
    pub fn receive_buffers(settings: &Settings, workers: usize) -> u64 {
        (settings.listen.dns.len() * workers * RECEIVE_BUFFER * 2) as u64
    }
}
