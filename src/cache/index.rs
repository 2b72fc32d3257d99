//! Where answers are found: read without a lock, changed by one writer at a time.
//!
//! A key has two buckets, each one line of memory with five places, and stands in one of ten. A place is a tag, which
//! tells most other keys apart without a look at them, and the answer. Who reads takes no lock and counts no
//! reference: arc-swap's guard notes in memory of the reader's own thread what must not be freed yet.

use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwapAny;

use super::answer::{AnswerView, Block};

/// Places of a bucket: what fits into a line.
const PLACES: usize = 5;
/// Buckets beside the first one of a key, of which one is its second.
const NEIGHBOURS: usize = 15;
/// Bytes of a bucket.
pub(super) const BUCKET_BYTES: usize = size_of::<Bucket>();

/// The places of one shard.
pub(super) struct Index(Box<[Bucket]>);

#[derive(Default)]
#[repr(align(64))]
struct Bucket {
    /// 0 where the place is free.
    tags: [AtomicU32; PLACES],
    answers: [ArcSwapAny<Option<Block>>; PLACES],
}

/// A place.
#[derive(Clone, Copy)]
pub(super) struct Place {
    bucket: usize,
    place: usize,
}

impl Index {
    /// An index of so many buckets, at least one.
    pub(super) fn new(buckets: usize) -> Self {
        Self((0..buckets.max(1)).map(|_| Bucket::default()).collect())
    }

    /// Calls `use_answer` with the answer of this hash for which `is_it` says so.
    #[inline]
    pub(super) fn with<R>(
        &self,
        hash: u64,
        is_it: impl Fn(AnswerView<'_>) -> bool,
        use_answer: impl FnOnce(AnswerView<'_>) -> R,
    ) -> Option<R> {
        let tag = tag(hash);
        for number in self.buckets_of(hash) {
            let bucket = self.0.get(number)?;
            for (place, answer) in bucket.tags.iter().zip(&bucket.answers) {
                // Acquire: the answer is at least as new as its tag.
                if place.load(Ordering::Acquire) != tag {
                    continue;
                }
                let guard = answer.load();
                if let Some(answer) = guard.as_ref().map(AnswerView::new)
                    && is_it(answer)
                {
                    return Some(use_answer(answer));
                }
            }
        }
        None
    }

    /// Names the memory of the first bucket of a hash: most answers stand there.
    #[inline]
    pub(super) fn prefetch_place(&self, hash: u64, prefetch: impl Fn(*const u8)) {
        let [first, _] = self.buckets_of(hash);
        if let Some(bucket) = self.0.get(first) {
            prefetch((&raw const *bucket).cast());
        }
    }

    /// Names the memory of both buckets of a hash, which a change reads.
    pub(super) fn prefetch_change(&self, hash: u64, prefetch: impl Fn(*const u8)) {
        for bucket in self.buckets_of(hash).into_iter().filter_map(|number| self.0.get(number)) {
            prefetch((&raw const *bucket).cast());
        }
    }

    /// Names the memory of the answer of a hash.
    #[inline]
    pub(super) fn prefetch_answer(&self, hash: u64, prefetch: impl Fn(*const u8)) {
        let tag = tag(hash);
        for number in self.buckets_of(hash) {
            let Some(bucket) = self.0.get(number) else { return };
            for (place, answer) in bucket.tags.iter().zip(&bucket.answers) {
                if place.load(Ordering::Acquire) == tag {
                    if let Some(answer) = answer.load().as_ref() {
                        AnswerView::new(answer).lines().for_each(prefetch);
                    }
                    return;
                }
            }
        }
    }

    /// The place of the answer for which `is_it` says so. For the writer.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(AnswerView<'_>) -> bool) -> Option<Place> {
        self.place_with(hash, tag(hash), |at| self.look(at, &is_it) == Some(true))
    }

    /// A free place for an answer, or the one that is the least worth keeping. For the writer.
    pub(super) fn place_for(&self, hash: u64) -> Option<Place> {
        let worth = |at: &Place| self.look(*at, |answer| answer.uses() + u8::from(answer.is_main()));
        // Nearly always there is a free one: no answer need be looked at.
        self.place_with(hash, 0, |_| true).or_else(|| self.places_of(hash).min_by_key(worth))
    }

    /// Looks at the answer of a place, if there is one. For the writer.
    pub(super) fn look<R>(&self, at: Place, look: impl FnOnce(AnswerView<'_>) -> R) -> Option<R> {
        let guard = self.0.get(at.bucket)?.answers.get(at.place)?.load();
        guard.as_ref().map(AnswerView::new).map(look)
    }

    /// Puts an answer into a place. For the writer.
    pub(super) fn store(&self, at: Place, hash: u64, answer: Block) {
        self.set(at, tag(hash), Some(answer));
    }

    /// Frees a place. For the writer.
    pub(super) fn remove(&self, at: Place) {
        self.set(at, 0, None);
    }

    fn set(&self, at: Place, tag: u32, answer: Option<Block>) {
        if let Some(bucket) = self.0.get(at.bucket)
            && let (Some(place), Some(old)) = (bucket.tags.get(at.place), bucket.answers.get(at.place))
        {
            old.store(answer);
            place.store(tag, Ordering::Release);
        }
    }

    /// The first place of a hash that has this tag, and of which `is_it` says so.
    #[inline]
    fn place_with(&self, hash: u64, tag: u32, is_it: impl Fn(Place) -> bool) -> Option<Place> {
        for number in self.buckets_of(hash) {
            let tags = &self.0.get(number)?.tags;
            for (place, known) in tags.iter().enumerate() {
                let at = Place { bucket: number, place };
                if known.load(Ordering::Relaxed) == tag && is_it(at) {
                    return Some(at);
                }
            }
        }
        None
    }

    fn places_of(&self, hash: u64) -> impl Iterator<Item = Place> {
        let buckets = self.buckets_of(hash);
        buckets.into_iter().flat_map(|bucket| (0..PLACES).map(move |place| Place { bucket, place }))
    }

    /// The two buckets of a hash: the second one of the fifteen beside the first, so that a look at both is one at the same page
    /// of memory, whose address the processor has to find only once.
    #[inline]
    fn buckets_of(&self, hash: u64) -> [usize; 2] {
        let first = ((u64::from(lower_half(hash)) * self.0.len() as u64) >> 32) as usize;
        let beside = first ^ ((tag(hash) >> 23) as usize % NEIGHBOURS + 1);
        // The last ones may have fewer beside them.
        [first, if beside < self.0.len() { beside } else { first }]
    }
}

/// What of the hash stands in the index: other bits than those that choose the shard and the first bucket. Never 0.
#[inline]
fn tag(hash: u64) -> u32 {
    lower_half(hash >> 26) | 1
}

#[expect(clippy::cast_possible_truncation, reason = "the other half is what is to go")]
#[inline]
pub(super) fn lower_half(hash: u64) -> u32 {
    hash as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_one_line() {
        assert_eq!(BUCKET_BYTES, 64);
    }
}
