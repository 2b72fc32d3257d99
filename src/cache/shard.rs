//! One shard of the cache: a map, and the three queues of S3-FIFO.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Answer, State};

/// Octets that an entry takes besides key and answer: slots of map, slab and queues.
const ENTRY_OVERHEAD: usize = 160;
/// The largest entry, octets.
const ENTRY_MAX: usize = 64 << 10;
/// The share of the small queue, where new entries prove themselves: a tenth.
const SMALL_SHARE: usize = 10;
/// An answer that is in use is asked for again in the last tenth of its life,
const PREFETCH_SHARE: u32 = 10;
/// if it was used so often since it was heard.
const PREFETCH_HITS: u32 = 3;
/// Uses counted per entry: more say nothing more.
const USES_MAX: u8 = 3;

/// A shard.
pub(super) struct Shard {
    map: HashMap<Arc<[u8]>, usize, foldhash::fast::RandomState>,
    entries: slab::Slab<Entry>,
    /// New entries, oldest in front.
    small: VecDeque<usize>,
    /// Entries that were used again, oldest in front.
    main: VecDeque<usize>,
    /// Hashes of entries that left the small queue unused: who comes back goes to the main queue at once.
    ghosts: VecDeque<u64>,
    ghost_set: HashSet<u64, foldhash::fast::RandomState>,
    octets: usize,
    small_octets: usize,
    octets_max: usize,
}

struct Entry {
    key: Arc<[u8]>,
    hash: u64,
    answer: Arc<Answer>,
    heard: Instant,
    octets: usize,
    uses: u8,
    /// Uses since the answer was heard.
    hits: u32,
    /// Somebody was told to ask again before it expires.
    is_prefetched: bool,
    is_main: bool,
}

impl Shard {
    pub(super) fn new(octets_max: usize) -> Self {
        Self {
            map: HashMap::default(),
            entries: slab::Slab::new(),
            small: VecDeque::new(),
            main: VecDeque::new(),
            ghosts: VecDeque::new(),
            ghost_set: HashSet::default(),
            octets: 0,
            small_octets: 0,
            octets_max,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    /// The answer under `key`, valid or expired.
    pub(super) fn get(&mut self, key: &[u8], now: Instant) -> Option<(&Arc<Answer>, State)> {
        let entry = self.entries.get_mut(*self.map.get(key)?)?;
        let age = now.saturating_duration_since(entry.heard);
        let ttl = Duration::from_secs(u64::from(entry.answer.ttl()));
        entry.uses = USES_MAX.min(entry.uses + 1);
        entry.hits = entry.hits.saturating_add(1);
        let state = if age >= ttl {
            State::Expired { at: entry.heard + ttl }
        } else {
            let ends_soon = (ttl - age) * PREFETCH_SHARE <= ttl;
            let prefetch =
                ends_soon && entry.hits >= PREFETCH_HITS && !std::mem::replace(&mut entry.is_prefetched, true);
            if !ends_soon || entry.hits < PREFETCH_HITS {
                entry.is_prefetched = false;
            }
            State::Fresh { age: age.as_secs() as u32, prefetch }
        };
        Some((&entry.answer, state))
    }

    /// The same, without being a use of it.
    pub(super) fn peek(&self, key: &[u8], now: Instant) -> Option<(Arc<Answer>, State)> {
        let entry = self.entries.get(*self.map.get(key)?)?;
        let age = now.saturating_duration_since(entry.heard);
        let ttl = Duration::from_secs(u64::from(entry.answer.ttl()));
        let state = match age >= ttl {
            true => State::Expired { at: entry.heard + ttl },
            false => State::Fresh { age: age.as_secs() as u32, prefetch: false },
        };
        Some((entry.answer.clone(), state))
    }

    pub(super) fn insert(&mut self, hash: u64, key: &[u8], answer: Arc<Answer>, now: Instant) {
        let octets = answer.octets() + key.len() + ENTRY_OVERHEAD;
        if octets > ENTRY_MAX.min(self.octets_max) {
            return;
        }
        if let Some(entry) = self.map.get(key).and_then(|&at| self.entries.get_mut(at)) {
            self.octets = self.octets - entry.octets + octets;
            if !entry.is_main {
                self.small_octets = self.small_octets - entry.octets + octets;
            }
            (entry.answer, entry.heard, entry.octets) = (answer, now, octets);
            (entry.hits, entry.is_prefetched) = (0, false);
        } else {
            let key: Arc<[u8]> = key.into();
            let is_main = self.ghost_set.remove(&hash);
            let at = self.entries.insert(Entry {
                key: key.clone(),
                hash,
                answer,
                heard: now,
                octets,
                uses: 0,
                hits: 0,
                is_prefetched: false,
                is_main,
            });
            self.map.insert(key, at);
            self.octets += octets;
            if is_main {
                self.main.push_back(at);
            } else {
                self.small.push_back(at);
                self.small_octets += octets;
            }
        }
        while self.octets > self.octets_max && self.evict_one() {}
    }

    /// Moves the queues on by one step; whether there was one to make.
    fn evict_one(&mut self) -> bool {
        if self.small_octets > self.octets_max / SMALL_SHARE || self.main.is_empty() {
            let Some(at) = self.small.pop_front() else { return false };
            let Some(entry) = self.entries.get_mut(at) else {
                return true;
            };
            self.small_octets -= entry.octets;
            if entry.uses > 0 {
                (entry.uses, entry.is_main) = (0, true);
                self.main.push_back(at);
            } else {
                let hash = entry.hash;
                self.remove(at);
                self.remember_ghost(hash);
            }
            return true;
        }
        let Some(at) = self.main.pop_front() else { return false };
        let Some(entry) = self.entries.get_mut(at) else {
            return true;
        };
        if entry.uses > 0 {
            entry.uses -= 1;
            self.main.push_back(at);
        } else {
            self.remove(at);
        }
        true
    }

    fn remove(&mut self, at: usize) {
        if let Some(entry) = self.entries.try_remove(at) {
            self.octets -= entry.octets;
            self.map.remove(&entry.key);
        }
    }

    fn remember_ghost(&mut self, hash: u64) {
        self.ghosts.push_back(hash);
        self.ghost_set.insert(hash);
        while self.ghosts.len() > self.entries.len().max(16) {
            if let Some(oldest) = self.ghosts.pop_front() {
                self.ghost_set.remove(&oldest);
            }
        }
    }
}
