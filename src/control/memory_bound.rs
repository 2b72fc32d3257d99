//! What a configuration can use of memory at most, bytes, part by part, and how much may wait so that it fits into what the process
//! may use. Each part has its bound in the code that it names.

use std::collections::HashSet;

use super::http;
use crate::admin::{FOUND_BYTES, HISTORY_BYTES};
use crate::config::Settings;
use crate::engine::CHAIN_MEMORY_MAX;
use crate::forward::{ForwardBounds, REMEMBERED_BYTES_MAX};
use crate::log;
use crate::reload::Loaded;
use crate::server::{CLIENTS_BYTES, ConnectionRoom, QUIC_BYTES, THREADS, TLS_BYTES};
use crate::sys::RECEIVE_BUFFER;

/// What the program takes before it has anything to keep.
const PROGRAM: u64 = 24 << 20;
/// What a worker takes: the stacks of its threads, runtime, counters, and what it reads from upstreams.
const WORKER: u64 = 4 << 20;
/// What it takes for each address: a batch of datagrams, with the longest set of records put together in each reply's place
/// (`sys/batch.rs`).
const BATCHES: u64 = 5 << 20;
/// What reading takes for each byte of a records file, measured: the text, its tree, records, and what the allocator keeps
/// of that until the next reading.
const READING: u64 = 40;
/// What an outstanding question takes (`forward/outstanding.rs`): itself, its tries with a socket each, timers, its place
/// in lines.
const QUESTION: u64 = 4 << 10;
/// What a query takes that waits (`server/shared.rs`): its minimal query, its places.
const WAITING: u64 = 1 << 10;
/// What the connections of a worker to one upstream take (`upstream/stream.rs`): two with a thousand queries each, and
/// some with one.
const UPSTREAM: u64 = 4 << 20;
/// Places of the log's queue, and what is written at once (`log/writer.rs`).
const LOG: u64 = 1 << 20;
/// Where memory is short, this part of each bound is left at least: enough for what Azure DNS answers in the time that clients wait.
const LEAST_SHARE: u64 = 16;

/// How much may be kept and wait: what shrinks where memory is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The cache, bytes.
    pub cache: u64,
    /// Connections of clients.
    pub connections: usize,
    /// What these have together.
    pub room: ConnectionRoom,
    /// Questions and queries that wait for upstreams.
    pub forward: ForwardBounds,
    /// Bytes of the chains that they have followed so far.
    pub chains: usize,
}

impl Bounds {
    /// As much as there ever is, with these settings and the cache that there is already.
    fn most(settings: &Settings, cache: Option<u64>) -> Self {
        Self {
            cache: cache.unwrap_or(settings.cache.max_size),
            connections: settings.listen.connections,
            room: ConnectionRoom::MOST,
            forward: ForwardBounds::MOST,
            chains: CHAIN_MEMORY_MAX,
        }
    }

    /// Between the least that there may be (0 of `parts`) and the most (all of them). What the settings name is as they say,
    /// and the cache that there is already stays.
    fn between(settings: &Settings, kept: Option<u64>, share: u64, parts: u64) -> Self {
        let part = |most: u64| {
            let least = most / LEAST_SHARE;
            let more = u128::from(most - least) * u128::from(share) / u128::from(parts.max(1));
            least + u64::try_from(more).unwrap_or_default()
        };
        let count = |most: usize| part(most as u64) as usize;
        let Self { cache, connections, room, forward, chains } = Self::most(settings, kept);
        let may_shrink = kept.is_none() && settings.places.cache_max_size.is_empty();
        Self {
            cache: if may_shrink { part(cache) } else { cache },
            connections: if settings.places.connections.is_empty() { count(connections) } else { connections },
            room: ConnectionRoom { reply_bytes: count(room.reply_bytes), requests: count(room.requests) },
            forward: ForwardBounds { questions: count(forward.questions), waiting: count(forward.waiting) },
            chains: count(chains),
        }
    }

    /// The largest with which all of the process fits into `limit`; the least where that does not fit either. `cache` is the size of
    /// one that there is already.
    pub fn fit(
        settings: &Settings,
        records: RecordSizes,
        workers: usize,
        limit: Option<u64>,
        cache: Option<u64>,
    ) -> Self {
        let total = |bounds: &Self| MemoryBound::of(settings, records, workers, bounds).total();
        let most = Self::most(settings, cache);
        let Some(limit) = limit.filter(|&limit| total(&most) > limit) else { return most };
        // Every part grows in proportion, so that shares of the memory are shares of the bounds.
        let least = total(&Self::between(settings, cache, 0, 1));
        Self::between(settings, cache, limit.saturating_sub(least), total(&most).saturating_sub(least))
    }
}

/// What the records take, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordSizes {
    /// The table.
    pub table: u64,
    /// The files.
    pub files: u64,
}

impl RecordSizes {
    /// Of what was loaded.
    pub fn of(loaded: &Loaded) -> Self {
        Self { table: loaded.table.memory() as u64, files: loaded.record_bytes as u64 }
    }
}

/// The parts of the bound by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryBound(pub Vec<(String, u64)>);

impl MemoryBound {
    /// The bound of `settings` with such records and as many workers. While a reload is under way there are two tables, and the
    /// texts of the new one.
    pub fn of(settings: &Settings, records: RecordSizes, workers: usize, bounds: &Bounds) -> Self {
        let workers = workers as u64;
        let addresses = settings.listen.dns.len() as u64;
        let is_encrypted = settings.listen.is_encrypted();
        let encryption = if is_encrypted { (bounds.connections * TLS_BYTES) as u64 } else { 0 };
        let quic = settings.listen.quic.len() as u64;
        let has_requests = !settings.listen.https.is_empty() || quic > 0;
        let requests = if has_requests { bounds.room.requests_memory_max() as u64 } else { 0 };
        let upstreams: HashSet<_> = settings.forwards.iter().flat_map(|rule| &rule.upstreams).collect();
        let discovery = if settings.azure.discover.is_on() { settings.azure.discover.max_memory } else { 0 };
        let ForwardBounds { questions, waiting } = bounds.forward;
        let connections = bounds.connections;
        let parts = [
            ("program".to_owned(), PROGRAM),
            ("workers".to_owned(), workers * (WORKER + (THREADS * CLIENTS_BYTES) as u64 + addresses * BATCHES)),
            ("table, twice during a reload".to_owned(), records.table * 2),
            ("reading of records".to_owned(), records.files * READING),
            ("cache".to_owned(), bounds.cache),
            (format!("{connections} connections of clients"), bounds.room.memory_max(connections) as u64),
            ("their encryption".to_owned(), encryption),
            ("requests by HTTPS and QUIC".to_owned(), requests),
            ("packets of QUIC that come in".to_owned(), quic * QUIC_BYTES as u64),
            (format!("{questions} questions under way"), questions as u64 * QUESTION),
            (format!("{waiting} queries that wait for them"), waiting as u64 * WAITING),
            ("chains that they have followed so far".to_owned(), bounds.chains as u64),
            ("failures remembered".to_owned(), REMEMBERED_BYTES_MAX as u64),
            ("connections to upstreams".to_owned(), upstreams.len() as u64 * workers * UPSTREAM),
            ("admin and health pages".to_owned(), http::MEMORY_MAX as u64),
            ("history and findings of the status page".to_owned(), (HISTORY_BYTES + FOUND_BYTES) as u64),
            ("discovery (`max_memory`)".to_owned(), discovery),
            ("log".to_owned(), log::WAITING_BYTES_MAX as u64 + LOG),
            ("dnstap".to_owned(), if settings.dnstap.is_on() { log::DNSTAP_BYTES as u64 } else { 0 }),
        ];
        Self(parts.into())
    }

    /// All parts together.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, bytes)| bytes).sum()
    }

    /// What the kernel may keep of datagrams that were not read yet, bytes: it counts twice what is asked for.
    pub fn receive_buffers(settings: &Settings, workers: usize) -> u64 {
        ((settings.listen.dns.len() * workers + settings.listen.quic.len()) * RECEIVE_BUFFER * 2) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: RecordSizes = RecordSizes { table: 1 << 20, files: 200 << 10 };

    fn total(settings: &Settings, limit: Option<u64>) -> (Bounds, u64) {
        let bounds = Bounds::fit(settings, RECORDS, 2, limit, None);
        (bounds, MemoryBound::of(settings, RECORDS, 2, &bounds).total())
    }

    #[test]
    fn without_a_limit_and_with_enough_memory_the_bounds_are_the_most_there_is() {
        let settings = Settings::default();
        let (bounds, most) = total(&settings, None);
        assert_eq!(bounds, Bounds::most(&settings, None));
        assert_eq!(total(&settings, Some(most)), (bounds, most));
    }

    #[test]
    fn all_parts_fit_into_every_limit_above_the_least() {
        let mut settings = Settings::default();
        settings.listen.https = settings.listen.dns.clone();
        let (_, most) = total(&settings, None);
        let (_, least) = total(&settings, Some(0));
        assert!(least < 300 << 20, "{} MiB", least >> 20);
        let mut before = Bounds::between(&settings, None, 0, 1);
        for limit in (least..most).step_by(1 << 20) {
            let (bounds, total) = total(&settings, Some(limit));
            // What is lost is the rounding of each count.
            assert!(total <= limit && total + (1 << 20) > limit, "{total} of {limit}");
            assert!(bounds.cache >= before.cache && bounds.forward.questions >= before.forward.questions);
            before = bounds;
        }
        assert!(before.connections > settings.listen.connections * 9 / 10);
    }

    #[test]
    fn discovery_counts_with_what_it_may_hold_where_it_is_on() {
        let mut settings = Settings::default();
        let (_, without) = total(&settings, None);
        settings.azure.discover.max_memory = 100 << 20;
        assert_eq!(total(&settings, None).1, without);
        settings.azure.discover.subscriptions.push("s".to_owned());
        assert_eq!(total(&settings, None).1, without + (100 << 20));
    }

    #[test]
    fn what_the_settings_name_stays_as_it_is() {
        let mut settings = Settings::default();
        settings.places.cache_max_size = 5..9;
        settings.listen.connections = 512;
        settings.places.connections = 12..15;
        let (bounds, bytes) = total(&settings, Some(400 << 20));
        assert_eq!((bounds.cache, bounds.connections), (64 << 20, 512));
        assert!(bounds.forward.questions < ForwardBounds::MOST.questions / 2 && bytes <= 400 << 20);
    }
}
