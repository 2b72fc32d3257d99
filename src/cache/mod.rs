//! Answers of upstreams, kept while they are valid.
//!
//! Shared by all workers, in shards so that they seldom meet. An entry holds the bytes to send; TTLs are counted down
//! in the copy that goes out. Each shard is bounded in octets and evicts by S3-FIFO: what was asked only once goes
//! first, so that a flood of names that nobody asks again cannot wash out what is in use (Yang et al., "FIFO queues
//! are all you need for cache eviction", SOSP 2023).
//!
//! The cache is told the time. What an answer means, and whom it came from, is in the key.

#![deny(clippy::indexing_slicing)]

mod answer;
mod shard;

use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use answer::{Age, Answer, TtlLimits};
use shard::Shard;

use crate::wire::{LowerName, Rtype};

/// Shards, a power of two: enough that two workers seldom want the same.
const SHARDS: usize = 64;
/// Octets of a key besides the name.
const KEY_TAIL: usize = 7;

/// What an answer is kept under: name in lower case, type, DO, CD and the set of upstreams that it may come from, so
/// that no upstream's answer crosses over to names that a rule gives to another. The class is always IN; what the
/// client said of its network is in no key and goes nowhere.
#[derive(Clone, Copy)]
pub struct CacheKey {
    octets: [u8; 255 + KEY_TAIL],
    len: u16,
}

impl CacheKey {
    /// The key of a question.
    pub fn new(qname: &LowerName, qtype: Rtype, dnssec_ok: bool, checking_disabled: bool, upstream_set: u32) -> Self {
        let mut octets = [0; 255 + KEY_TAIL];
        let len = qname.len();
        let [t0, t1] = qtype.0.to_be_bytes();
        let [u0, u1, u2, u3] = upstream_set.to_be_bytes();
        let flags = u8::from(dnssec_ok) | u8::from(checking_disabled) << 1;
        if let Some((name, tail)) = octets.split_at_mut_checked(len)
            && let Some(tail) = tail.first_chunk_mut::<KEY_TAIL>()
        {
            name.copy_from_slice(qname.as_wire());
            *tail = [t0, t1, flags, u0, u1, u2, u3];
        }
        Self { octets, len: (len + KEY_TAIL) as u16 }
    }

    /// A key whose octets are known; nothing when they are too many.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut octets = [0; 255 + KEY_TAIL];
        octets.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { octets, len: bytes.len() as u16 })
    }

    /// The octets that tell it from others.
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..self.len as usize).unwrap_or_default()
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
        prefetch: bool,
    },
    /// Not valid any more; of use only while its upstream is silent (RFC 8767).
    Expired {
        /// Since when.
        at: Instant,
    },
}

/// The cache.
pub struct Cache {
    hasher: foldhash::fast::RandomState,
    shards: Box<[Mutex<Shard>]>,
}

impl Cache {
    /// A cache of at most `max_size` octets, overhead included; 0 keeps nothing.
    pub fn new(max_size: u64) -> Self {
        let per_shard = usize::try_from(max_size).unwrap_or(usize::MAX) / SHARDS;
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard::new(per_shard)));
        Self { hasher: foldhash::fast::RandomState::default(), shards: shards.collect() }
    }

    /// Calls `use_answer` with the answer kept under `key` and its state at `now`, if there is one, valid or expired.
    pub fn with<R>(
        &self,
        key: &CacheKey,
        now: Instant,
        use_answer: impl FnOnce(&Arc<Answer>, State) -> R,
    ) -> Option<R> {
        let mut shard = self.shard(self.hash(key))?;
        let (answer, state) = shard.get(key.as_bytes(), now)?;
        Some(use_answer(answer, state))
    }

    /// The answer kept under `key` and its state at `now`, looked at without being used: nothing in the cache changes.
    pub fn peek(&self, key: &CacheKey, now: Instant) -> Option<(Arc<Answer>, State)> {
        self.shard(self.hash(key))?.peek(key.as_bytes(), now)
    }

    /// Keeps an answer that was heard at `now`, for as long as its TTL says; one of TTL 0 is not kept.
    pub fn insert(&self, key: &CacheKey, answer: &Arc<Answer>, now: Instant) {
        if answer.ttl() == 0 {
            return;
        }
        let hash = self.hash(key);
        if let Some(mut shard) = self.shard(hash) {
            shard.insert(hash, key.as_bytes(), answer.clone(), now);
        }
    }

    /// Entries and octets in use.
    pub fn size(&self) -> (usize, usize) {
        self.shards
            .iter()
            .map(lock)
            .fold((0, 0), |(entries, octets), shard| (entries + shard.len(), octets + shard.octets()))
    }

    fn hash(&self, key: &CacheKey) -> u64 {
        let mut hash = self.hasher.build_hasher();
        hash.write(key.as_bytes());
        hash.finish()
    }

    fn shard(&self, hash: u64) -> Option<MutexGuard<'_, Shard>> {
        // The upper bits: the lower ones choose the place within the shard.
        self.shards.get((hash >> 58) as usize).map(lock)
    }
}

/// A panic while the lock was held cannot leave a shard half changed in a way that matters: the worst is an answer
/// that is asked again.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cache::answer::tests::{LIMITS, address_answer};
    use crate::wire::Name;

    fn key(name: &str, upstream_set: u32) -> CacheKey {
        CacheKey::new(&LowerName::from_name(&Name::parse(name).unwrap()), Rtype::A, false, false, upstream_set)
    }

    fn answer(name: &str, ttl: u32) -> Arc<Answer> {
        Arc::new(Answer::from_message(&address_answer(name, ttl), &LIMITS).unwrap())
    }

    #[test]
    fn an_answer_lives_as_long_as_its_ttl() {
        #[expect(clippy::disallowed_methods, reason = "a start for the hand-moved clock")]
        let start = Instant::now();
        let cache = Cache::new(1 << 20);
        cache.insert(&key("a.example", 1), &answer("a.example", 30), start);
        let state = |seconds| {
            let now = start + Duration::from_secs(seconds);
            cache.with(&key("a.example", 1), now, |_, state| state).unwrap()
        };
        assert_eq!(state(0), State::Fresh { age: 0, prefetch: false });
        assert_eq!(state(15), State::Fresh { age: 15, prefetch: false });
        assert_eq!(state(29), State::Fresh { age: 29, prefetch: true }, "in use, and it ends soon");
        assert_eq!(state(29), State::Fresh { age: 29, prefetch: false }, "said once");
        assert_eq!(state(31), State::Expired { at: start + Duration::from_secs(30) });
        cache.insert(&key("b.example", 1), &answer("b.example", 0), start);
        assert!(cache.with(&key("b.example", 1), start, |_, _| ()).is_none(), "TTL 0 is not kept");
    }

    #[test]
    fn every_part_of_the_key_counts() {
        #[expect(clippy::disallowed_methods, reason = "a start for the hand-moved clock")]
        let now = Instant::now();
        let cache = Cache::new(1 << 20);
        cache.insert(&key("a.example", 1), &answer("a.example", 30), now);
        let name = LowerName::from_name(&Name::parse("a.example").unwrap());
        for other in [
            key("b.example", 1),
            key("a.example", 2),
            CacheKey::new(&name, Rtype::AAAA, false, false, 1),
            CacheKey::new(&name, Rtype::A, true, false, 1),
            CacheKey::new(&name, Rtype::A, false, true, 1),
        ] {
            assert!(cache.with(&other, now, |_, _| ()).is_none());
        }
    }

    #[test]
    fn a_flood_of_new_names_stays_in_bounds_and_spares_what_is_in_use() {
        #[expect(clippy::disallowed_methods, reason = "a start for the hand-moved clock")]
        let now = Instant::now();
        let bound = 1 << 20;
        let cache = Cache::new(bound);
        let in_use: Vec<_> = (0..200).map(|n| format!("used-{n}.example")).collect();
        for name in &in_use {
            cache.insert(&key(name, 1), &answer(name, 3600), now);
            for _ in 0..3 {
                cache.with(&key(name, 1), now, |_, _| ());
            }
        }
        for n in 0..50_000 {
            let name = format!("flood-{n}.example");
            cache.insert(&key(&name, 1), &answer(&name, 3600), now);
            assert!(n % 1000 != 0 || cache.size().1 as u64 <= bound);
            if n % 500 == 0 {
                in_use.iter().for_each(|name| cache.with(&key(name, 1), now, |_, _| ()).unwrap_or_default());
            }
        }
        let kept = in_use.iter().filter(|name| cache.with(&key(name, 1), now, |_, _| ()).is_some()).count();
        assert!(kept >= 190, "{kept} of 200 names in use survived");
        assert!(cache.size().1 as u64 <= bound);
    }
}
