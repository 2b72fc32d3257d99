//! Answers of upstreams, kept while they are valid.
//!
//! Shared by all workers. A hit takes no lock: `index.rs` says where an answer is, `answer.rs` is the run of memory that
//! it is, with the bytes to send; TTLs are counted down in the copy that goes out. Who puts an answer in locks one
//! shard of many (`shard.rs`). Each shard is bounded in bytes and evicts by S3-FIFO: what was asked only once goes
//! first, so that a flood of names that are not asked for again cannot wash out what is in use (Yang et al., "FIFO queues
//! are all you need for cache eviction", SOSP 2023).
//!
//! The cache is told the time. What an answer means, and whom it came from, is in the key.

#![deny(clippy::indexing_slicing)]
#![cfg_attr(not(test), deny(clippy::cast_possible_truncation))]

mod answer;
mod index;
mod normalize;
mod shard;

use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;
use std::time::Instant;

use parking_lot::Mutex;
use smallvec::SmallVec;

pub use answer::{Age, Answer, AnswerView};
use index::Index;
pub use normalize::TtlLimits;
use shard::Shard;

pub use crate::wire::answer::ALIASES_MAX;

use crate::wire::{LowerName, Rtype, joined};

/// Shards, a power of two: enough that two workers seldom write to the same.
const SHARDS: usize = 64;
/// Bytes of a key besides the name.
const KEY_TAIL: usize = 8;

/// What an answer is kept under: name in lower case, type, DO, CD and the set of upstreams that it may come from, so
/// that no upstream's answer crosses over to names that a rule gives to another. The class is always IN; what the
/// client said of its network is in no key and goes nowhere.
#[derive(Clone, Copy)]
pub struct CacheKey<'n> {
    name: &'n [u8],
    tail: [u8; KEY_TAIL],
}

/// The hash of a key in one cache.
#[derive(Debug, Clone, Copy)]
pub struct KeyHash(u64);

impl<'n> CacheKey<'n> {
    /// The key of a question.
    #[inline]
    pub fn new(
        qname: LowerName<'n>,
        qtype: Rtype,
        dnssec_ok: bool,
        checking_disabled: bool,
        upstream_set: u32,
    ) -> Self {
        let [t0, t1] = qtype.0.to_be_bytes();
        let [u0, u1, u2, u3] = upstream_set.to_be_bytes();
        let flags = [u8::from(dnssec_ok), u8::from(checking_disabled)];
        Self { name: qname.as_wire(), tail: [t0, t1, flags[0], flags[1], u0, u1, u2, u3] }
    }

    /// The bytes that tell it from others.
    pub fn to_bytes(self) -> SmallVec<[u8; 72]> {
        joined(&[self.name, &self.tail])
    }

    #[inline]
    fn is(self, bytes: &[u8]) -> bool {
        bytes.split_last_chunk() == Some((self.name, &self.tail))
    }
}

/// Hashes keys by a seed of the process, so that no client can tell which ones meet.
#[derive(Clone, Default)]
struct KeyHasher(foldhash::fast::RandomState);

impl KeyHasher {
    #[inline]
    fn hash_parts(&self, name: &[u8], tail: [u8; KEY_TAIL]) -> u64 {
        let mut hash = self.0.build_hasher();
        hash.write(name);
        hash.write_u64(u64::from_ne_bytes(tail));
        hash.finish()
    }

    /// The hash of a key's bytes.
    // On every query's way: a release inlines less than the compiler would by itself (deploy/release.sh).
    #[inline(always)]
    fn hash(&self, bytes: &[u8]) -> u64 {
        bytes.split_last_chunk().map_or(0, |(name, tail)| self.hash_parts(name, *tail))
    }
}

/// The state of a kept answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Valid.
    Fresh {
        /// Whole seconds since it was heard.
        age: u32,
        /// It is in use and ends soon: now is the time to ask again. Said once.
        refresh: bool,
    },
    /// Not valid any more; of use only while its upstream is silent (RFC 8767).
    Expired {
        /// Since when.
        at: Instant,
    },
}

/// The cache.
pub struct Cache {
    hasher: KeyHasher,
    /// What queries read: nothing is written here but when an answer comes or goes.
    indexes: Box<[OnceLock<Index>]>,
    shards: Box<[Mutex<Shard>]>,
    /// Buckets of each index.
    buckets: usize,
    /// Bytes that each shard takes besides its answers, once it has one.
    fixed: usize,
}

impl Cache {
    /// A cache of at most `max_size` bytes, overhead included; 0 keeps nothing.
    pub fn new(max_size: u64) -> Self {
        let per_shard = usize::try_from(max_size).unwrap_or(usize::MAX) / SHARDS;
        let hasher = KeyHasher::default();
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard::new(per_shard, hasher.clone()))).collect();
        let indexes = (0..SHARDS).map(|_| OnceLock::new()).collect();
        Self { hasher, indexes, shards, buckets: shard::buckets(per_shard), fixed: shard::fixed(per_shard) }
    }

    /// The hash of a key.
    #[inline]
    pub fn hash(&self, key: &CacheKey<'_>) -> KeyHash {
        KeyHash(self.hasher.hash_parts(key.name, key.tail))
    }

    /// Calls `use_answer` with the answer kept under `key` and its state at `now`, if there is one, valid or expired.
    ///
    /// Takes no lock: queries of all cores may read the same answer at the same time.
    #[inline]
    pub fn with<R>(
        &self,
        key: &CacheKey<'_>,
        hash: KeyHash,
        now: Instant,
        use_answer: impl FnOnce(AnswerView<'_>, State) -> R,
    ) -> Option<R> {
        self.index(hash)?.with(hash.0, |answer| key.is(answer.key()), |answer| use_answer(answer, answer.state(now)))
    }

    /// The answer kept under `key` and its state at `now`, looked at without being used: nothing in the cache changes.
    pub fn peek(&self, key: &CacheKey<'_>, now: Instant) -> Option<(Answer, State)> {
        let hash = self.hash(key);
        let look = |answer: AnswerView<'_>| (answer.to_answer(), answer.look(now));
        self.index(hash)?.with(hash.0, |answer| key.is(answer.key()), look)
    }

    /// Gives `prefetch` the address of the place of a key's answer, so that the processor brings it nearer while something else is done.
    #[inline]
    pub fn prefetch_place(&self, hash: KeyHash, prefetch: impl Fn(*const u8)) {
        if let Some(index) = self.index(hash) {
            index.prefetch_place(hash.0, prefetch);
        }
    }

    /// The same for both places that a key may have, as a look that finds nothing reads them.
    #[inline]
    pub fn prefetch_places(&self, hash: KeyHash, prefetch: impl Fn(*const u8)) {
        if let Some(index) = self.index(hash) {
            index.prefetch_change(hash.0, prefetch);
        }
    }

    /// The same for the answer itself, some time after [`Self::prefetch_place`].
    #[inline]
    pub fn prefetch_answer(&self, hash: KeyHash, prefetch: impl Fn(*const u8)) {
        if let Some(index) = self.index(hash) {
            index.prefetch_answer(hash.0, prefetch);
        }
    }

    #[inline]
    fn index(&self, KeyHash(hash): KeyHash) -> Option<&Index> {
        self.indexes.get(shard_of(hash))?.get()
    }

    /// The hash of a key's bytes ([`CacheKey::to_bytes`]).
    pub fn hash_bytes(&self, key: &[u8]) -> KeyHash {
        KeyHash(self.hasher.hash(key))
    }

    /// Names the memory that [`Self::insert`] will read for an answer under the key of this hash.
    pub fn prefetch_insert(&self, hash: KeyHash, prefetch: impl Fn(*const u8)) {
        if let (Some(index), Some(shard)) = (self.index(hash), self.shards.get(shard_of(hash.0))) {
            index.prefetch_change(hash.0, &prefetch);
            shard.lock().prefetch_insert(hash.0, prefetch);
        }
    }

    /// Keeps an answer under its key for as long as its TTL says; one of TTL 0 is not kept. `prefetch` is told what the next
    /// one will make it read.
    pub fn insert(&self, answer: &Answer, prefetch: impl Fn(*const u8)) {
        if answer.view().ttl() == 0 {
            return;
        }
        let hash = self.hasher.hash(answer.view().key());
        if let (Some(shard), Some(index)) = (self.shards.get(shard_of(hash)), self.indexes.get(shard_of(hash))) {
            let index = index.get_or_init(|| Index::new(self.buckets));
            shard.lock().insert(index, hash, answer.clone(), prefetch);
        }
    }

    /// Removes what is kept for a name, whatever its type and rule; how many answers there were.
    pub fn remove_name(&self, name: LowerName<'_>) -> usize {
        let is_it = |key: &[u8]| key.split_last_chunk::<KEY_TAIL>().is_some_and(|(of, _)| of == name.as_wire());
        let shards = self.shards.iter().zip(&self.indexes);
        shards.filter_map(|(shard, index)| Some(shard.lock().remove_all(index.get()?, is_it))).sum()
    }

    /// Entries and bytes in use.
    pub fn size(&self) -> (usize, usize) {
        let indexes = self.indexes.iter().filter(|index| index.get().is_some()).count() * self.fixed;
        self.shards
            .iter()
            .map(Mutex::lock)
            .fold((0, indexes), |(entries, bytes), shard| (entries + shard.len(), bytes + shard.bytes()))
    }
}

/// The shard of a hash: its upper bits.
#[inline]
fn shard_of(hash: u64) -> usize {
    (hash >> 58) as usize
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cache::answer::tests::{LIMITS, address_answer};
    use crate::wire::{Name, NameBuf, UpstreamMessage};

    fn lower(name: &str) -> NameBuf {
        let mut name_buf = NameBuf::new();
        name_buf.lower(Name::parse(name).unwrap().as_wire());
        name_buf
    }

    fn key(name_buf: &NameBuf) -> CacheKey<'_> {
        CacheKey::new(name_buf.name(), Rtype::A, false, false, 1)
    }

    fn insert(cache: &Cache, name: &str, ttl: u32, heard: Instant) {
        let key = key(&lower(name)).to_bytes();
        let mut message = UpstreamMessage::read(address_answer(name, ttl));
        cache.insert(&Answer::from_message(&key, &mut message, &LIMITS, heard).unwrap(), |_| ());
    }

    fn with<R>(
        cache: &Cache,
        key: &CacheKey<'_>,
        now: Instant,
        look: impl FnOnce(AnswerView<'_>, State) -> R,
    ) -> Option<R> {
        let hash = cache.hash(key);
        let fetched = std::cell::Cell::new(0);
        let prefetch = |_| fetched.set(fetched.get() + 1);
        cache.prefetch_place(hash, prefetch);
        cache.prefetch_answer(hash, prefetch);
        let found = cache.with(key, hash, now, look);
        assert!(found.is_none() || fetched.get() > 1, "what is there can be approached");
        found
    }

    fn state(cache: &Cache, name: &str, now: Instant) -> Option<State> {
        with(cache, &key(&lower(name)), now, |_, state| state)
    }

    #[expect(clippy::disallowed_methods, reason = "a start for the simulated clock")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn an_answer_lives_as_long_as_its_ttl() {
        let (start, cache) = (start(), Cache::new(1 << 20));
        insert(&cache, "a.example", 30, start);
        let at = |seconds| state(&cache, "a.example", start + Duration::from_secs(seconds)).unwrap();
        assert_eq!(at(0), State::Fresh { age: 0, refresh: false });
        assert_eq!(at(15), State::Fresh { age: 15, refresh: false });
        assert_eq!(at(29), State::Fresh { age: 29, refresh: true }, "in use, and it ends soon");
        assert_eq!(at(29), State::Fresh { age: 29, refresh: false }, "said once");
        assert_eq!(at(31), State::Expired { at: start + Duration::from_secs(30) });
        insert(&cache, "b.example", 0, start);
        assert!(state(&cache, "b.example", start).is_none(), "TTL 0 is not kept");
    }

    #[test]
    fn a_new_answer_takes_the_place_of_the_old_one() {
        let (start, cache) = (start(), Cache::new(1 << 20));
        let later = start + Duration::from_secs(100);
        insert(&cache, "a.example", 30, start);
        let size = cache.size();
        insert(&cache, "a.example", 30, later);
        assert_eq!(cache.size(), size);
        assert_eq!(state(&cache, "a.example", later), Some(State::Fresh { age: 0, refresh: false }));
    }

    #[test]
    fn what_is_kept_for_a_name_is_removed_and_nothing_else() {
        let (now, cache) = (start(), Cache::new(1 << 20));
        for name in ["a.example", "b.a.example", "c.example"] {
            insert(&cache, name, 30, now);
        }
        let (name, full) = (lower("a.example"), cache.size());
        assert_eq!(cache.remove_name(name.name()), 1);
        assert!(state(&cache, "a.example", now).is_none());
        assert!(state(&cache, "b.a.example", now).is_some() && state(&cache, "c.example", now).is_some());
        assert!(cache.size().0 == 2 && cache.size().1 < full.1, "{:?}", cache.size());
        assert_eq!(cache.remove_name(name.name()), 0);
        insert(&cache, "a.example", 30, now);
        assert_eq!(cache.size(), full);
    }

    #[test]
    fn every_part_of_the_key_counts() {
        let (now, cache) = (start(), Cache::new(1 << 20));
        insert(&cache, "a.example", 30, now);
        let (name, another) = (lower("a.example"), lower("b.example"));
        for other in [
            key(&another),
            CacheKey::new(name.name(), Rtype::A, false, false, 2),
            CacheKey::new(name.name(), Rtype::AAAA, false, false, 1),
            CacheKey::new(name.name(), Rtype::A, true, false, 1),
            CacheKey::new(name.name(), Rtype::A, false, true, 1),
        ] {
            assert!(with(&cache, &other, now, |_, _| ()).is_none());
        }
        assert!(with(&cache, &key(&name), now, |_, _| ()).is_some());
    }

    #[test]
    fn a_flood_of_new_names_stays_in_bounds_and_spares_what_is_in_use() {
        let now = start();
        for bound in [1 << 18, 1 << 20] {
            let cache = Cache::new(bound);
            let in_use: Vec<_> = (0..bound / 5000).map(|n| format!("used-{n}.example")).collect();
            for name in &in_use {
                insert(&cache, name, 3600, now);
                (0..3).for_each(|_| assert!(state(&cache, name, now).is_some()));
            }
            for n in 0..20_000 {
                insert(&cache, &format!("flood-{n}.example"), 3600, now);
                assert!(n % 1000 != 0 || cache.size().1 as u64 <= bound);
                if n % 500 == 0 {
                    in_use.iter().for_each(|name| _ = state(&cache, name, now));
                }
            }
            let kept = in_use.iter().filter(|name| state(&cache, name, now).is_some()).count();
            assert!(kept * 100 >= in_use.len() * 95, "{kept} of {} names in use survived", in_use.len());
            let (entries, bytes) = cache.size();
            assert!(bytes as u64 <= bound, "{bytes} of {bound}");
            assert!(entries as u64 >= bound / 600, "{entries} entries in {bound} bytes");
        }
    }

    #[test]
    fn readers_and_writers_of_all_cores_get_on() {
        let (now, cache) = (start(), Cache::new(1 << 18));
        let names: Vec<_> = (0..2000).map(|n| format!("n{n}.example")).collect();
        std::thread::scope(|scope| {
            for part in 0..4 {
                let (cache, names) = (&cache, &names);
                scope.spawn(move || {
                    for round in 0..20 {
                        for name in names.iter().skip(part).step_by(if round % 2 == 0 { 1 } else { 3 }) {
                            insert(cache, name, 3600, now);
                            let name = lower(name);
                            let len = name.name().len();
                            with(cache, &key(&name), now, |answer, _| assert_eq!(answer.key().len(), len + KEY_TAIL));
                        }
                    }
                });
            }
        });
        let (entries, bytes) = cache.size();
        let there = names.iter().filter(|name| state(&cache, name, now).is_some()).count();
        assert_eq!(there, entries);
        assert!(bytes <= 1 << 18);
    }
}
