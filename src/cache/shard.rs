//! What changes one shard of the cache: its bound, and the queues of S3-FIFO.

use std::collections::VecDeque;

use super::KeyHasher;
use super::answer::{Answer, AnswerView};
use super::index::{BUCKET_BYTES, Index, Place, lower_half};

/// Bytes that an answer takes besides itself: its places in the queues.
const QUEUES_BYTES: usize = 32;
/// How many answers that are gone are remembered: nearly as many as are there.
const GHOSTS_PER_BUCKET: usize = 4;
/// Bytes of the bound for each bucket: with answers as small as they get, two thirds of the places are taken.
const BYTES_PER_BUCKET: usize = 768;
/// The largest answer, bytes.
const ANSWER_MAX: usize = 64 << 10;
/// The share of the small queue, where new answers prove themselves: a tenth.
const SMALL_SHARE: usize = 10;
/// Queues are rid of what is gone when they are longer than twice what is there, and than this.
const QUEUE_MIN: usize = 64;

/// How many buckets a shard of this bound has.
pub(super) fn buckets(bytes_max: usize) -> usize {
    (bytes_max / BYTES_PER_BUCKET).max(1)
}

/// Bytes of a shard of this bound besides its answers: the index, and what is remembered of answers that are gone.
pub(super) fn fixed(bytes_max: usize) -> usize {
    buckets(bytes_max) * (BUCKET_BYTES + GHOSTS_PER_BUCKET * size_of::<u32>())
}

/// The writer's side of a shard. The queues hold hashes: whose answer is gone is passed over.
pub(super) struct Shard {
    /// New answers, oldest in front.
    small: VecDeque<u64>,
    /// Answers that were used again, oldest in front.
    main: VecDeque<u64>,
    /// The ghost queue: hashes of answers that left the small queue unused. One that comes back goes to the main queue at once.
    ghosts: Ghosts,
    hasher: KeyHasher,
    len: usize,
    bytes: usize,
    small_bytes: usize,
    bytes_max: usize,
}

impl Shard {
    /// A shard of at most this many bytes, its index included.
    pub(super) fn new(bytes_max: usize, hasher: KeyHasher) -> Self {
        Self {
            hasher,
            small: VecDeque::new(),
            main: VecDeque::new(),
            ghosts: Ghosts::new(buckets(bytes_max)),
            len: 0,
            bytes: 0,
            small_bytes: 0,
            bytes_max: bytes_max.saturating_sub(fixed(bytes_max)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes in use, without the index.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts an answer in, in the place of an older one to the same question. `prefetch` is told what the next eviction will
    /// read.
    pub(super) fn insert(&mut self, index: &Index, hash: u64, answer: Answer, prefetch: impl Fn(*const u8)) {
        let view = answer.view();
        let bytes = cost(view);
        if bytes > ANSWER_MAX.min(self.bytes_max) {
            return;
        }
        let at = match index.find(hash, |old| old.key() == view.key()) {
            Some(at) => {
                let old = index.look(at, |old| {
                    view.succeed(old);
                    cost(old)
                });
                self.discount(view.is_main(), old.unwrap_or(0));
                at
            }
            None => {
                let Some(at) = index.place_for(hash) else { return };
                self.remove(index, at);
                view.set_main(self.ghosts.take(hash));
                self.queue(view.is_main()).push_back(hash);
                self.len += 1;
                at
            }
        };
        self.bytes += bytes;
        if !view.is_main() {
            self.small_bytes += bytes;
        }
        index.store(at, hash, answer.into_block());
        while self.bytes > self.bytes_max && self.evict_one(index) {}
        self.prefetch_next(index, prefetch);
        if self.small.len() + self.main.len() > QUEUE_MIN.max(2 * self.len) {
            self.tidy(index);
        }
    }

    /// Removes the answers whose keys `is_it` takes; how many there were.
    pub(super) fn remove_all(&mut self, index: &Index, is_it: impl Fn(&[u8]) -> bool) -> usize {
        let before = self.len;
        for is_main in [false, true] {
            let queue = std::mem::take(self.queue(is_main));
            for &hash in &queue {
                if let Some(at) = self.find_queued(index, hash, is_main)
                    && index.look(at, |answer| is_it(answer.key())) == Some(true)
                {
                    self.remove(index, at);
                }
            }
            // What is gone is passed over when it comes to the front.
            *self.queue(is_main) = queue;
        }
        before - self.len
    }

    /// Moves the queues on by one step; whether there was one to make.
    fn evict_one(&mut self, index: &Index) -> bool {
        let from_main = self.is_main_next();
        for from_main in [from_main, !from_main] {
            if let Some(hash) = self.queue(from_main).pop_front() {
                self.step(index, hash, from_main);
                return true;
            }
        }
        false
    }

    /// Names the memory that putting an answer of this hash in will read here.
    pub(super) fn prefetch_insert(&self, hash: u64, prefetch: impl Fn(*const u8)) {
        self.ghosts.prefetch(hash, &prefetch);
        if let Some(last) = self.small.back() {
            prefetch((&raw const *last).wrapping_add(1).cast());
        }
    }

    /// Names the memory of what will be evicted next, and where what follows stands.
    fn prefetch_next(&mut self, index: &Index, prefetch: impl Fn(*const u8)) {
        if self.bytes + ANSWER_MAX < self.bytes_max {
            return;
        }
        let queue = self.next_queue();
        if let Some(&next) = queue.front() {
            index.prefetch_answer(next, &prefetch);
            self.ghosts.prefetch(next, &prefetch);
        }
        if let Some(&hash) = self.next_queue().get(1) {
            index.prefetch_change(hash, prefetch);
        }
    }

    /// What came to the front of a queue goes, or has another chance where it was used.
    fn step(&mut self, index: &Index, hash: u64, from_main: bool) {
        let Some(at) = self.find_queued(index, hash, from_main) else { return };
        let uses = index.look(at, |answer| answer.uses()).unwrap_or(0);
        if uses == 0 {
            self.remove(index, at);
            if !from_main {
                self.ghosts.remember(hash);
            }
            return;
        }
        let bytes = index.look(at, |answer| {
            answer.set_uses(if from_main { uses - 1 } else { 0 });
            answer.set_main(true);
            cost(answer)
        });
        if !from_main {
            self.small_bytes -= bytes.unwrap_or(0);
        }
        self.main.push_back(hash);
    }

    /// Whether the main queue is the next to give something up.
    fn is_main_next(&self) -> bool {
        self.small_bytes <= self.bytes_max / SMALL_SHARE
    }

    fn next_queue(&mut self) -> &VecDeque<u64> {
        let is_main = self.is_main_next();
        self.queue(is_main)
    }

    fn queue(&mut self, is_main: bool) -> &mut VecDeque<u64> {
        if is_main { &mut self.main } else { &mut self.small }
    }

    /// The answer that an item of a queue stands for, if it is still there.
    fn find_queued(&self, index: &Index, hash: u64, is_main: bool) -> Option<Place> {
        index.find(hash, |answer| answer.is_main() == is_main && self.hasher.hash(answer.key()) == hash)
    }

    /// Rids the queues of what is gone.
    fn tidy(&mut self, index: &Index) {
        for is_main in [false, true] {
            let mut queue = std::mem::take(self.queue(is_main));
            queue.retain(|&hash| self.find_queued(index, hash, is_main).is_some());
            *self.queue(is_main) = queue;
        }
    }

    /// Frees a place.
    fn remove(&mut self, index: &Index, at: Place) {
        if let Some((is_main, bytes)) = index.look(at, |answer| (answer.is_main(), cost(answer))) {
            self.discount(is_main, bytes);
            self.len -= 1;
            index.remove(at);
        }
    }

    fn discount(&mut self, is_main: bool, bytes: usize) {
        self.bytes -= bytes;
        if !is_main {
            self.small_bytes -= bytes;
        }
    }
}

/// Hashes of answers that are gone. A later one takes the place of an earlier: so they are forgotten, and their number is
/// bounded.
struct Ghosts {
    /// As many places as will be, once there is one; 0 where there is none.
    marks: Vec<u32>,
    places: usize,
}

impl Ghosts {
    fn new(buckets: usize) -> Self {
        Self { marks: Vec::new(), places: buckets * GHOSTS_PER_BUCKET }
    }

    fn remember(&mut self, hash: u64) {
        if self.marks.is_empty() {
            self.marks.resize(self.places, 0);
        }
        let (place, mark) = self.place_of(hash);
        if let Some(old) = self.marks.get_mut(place) {
            *old = mark;
        }
    }

    /// The address to prefetch for the memory of a hash.
    fn prefetch(&self, hash: u64, prefetch: impl Fn(*const u8)) {
        let (place, _) = self.place_of(hash);
        if let Some(mark) = self.marks.get(place) {
            prefetch((&raw const *mark).cast());
        }
    }

    /// Whether it was remembered; it is not any more.
    fn take(&mut self, hash: u64) -> bool {
        let (place, mark) = self.place_of(hash);
        match self.marks.get_mut(place) {
            Some(old) if *old == mark => {
                *old = 0;
                true
            }
            _ => false,
        }
    }

    fn place_of(&self, hash: u64) -> (usize, u32) {
        let place = (u64::from(lower_half(hash)) * self.places as u64) >> 32;
        (place as usize, lower_half(hash >> 26) | 1)
    }
}

/// Bytes that an answer takes in a shard.
fn cost(answer: AnswerView<'_>) -> usize {
    answer.bytes() + QUEUES_BYTES
}
