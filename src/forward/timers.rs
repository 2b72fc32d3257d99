//! When questions are to be looked at: a wheel of milliseconds.
//!
//! Nearly every timer is out of date before it is due, for its question was answered. So setting one must cost next to
//! nothing, and forgetting one nothing: it does nothing when its time comes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::question::Ticket;

/// Milliseconds of a turn, a power of two: further ahead than nearly all timers are.
const SLOTS: u64 = 8192;
/// How long before the first timer the wheel begins to turn: no clock shows less.
const BEFORE: Duration = Duration::from_secs(60);
const WORD: u64 = u64::BITS as u64;

/// Timers of questions.
#[derive(Debug)]
pub(super) struct Timers {
    /// When the wheel began to turn.
    start: Option<Instant>,
    /// The first tick that was not looked at yet.
    next_tick: u64,
    /// What is due at a tick, by the tick's lower bits.
    slots: Box<[Vec<Timer>]>,
    /// Bit n of word m is set where slot 64 m + n holds something.
    occupied: Box<[u64]>,
    /// What is due and was not taken yet.
    due: VecDeque<Timer>,
    /// The first of those set since it was asked for.
    first_set: Option<Instant>,
    len: usize,
}

#[derive(Debug, Clone, Copy)]
struct Timer {
    at: Instant,
    ticket: Ticket,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            start: None,
            next_tick: 0,
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            occupied: vec![0; (SLOTS / WORD) as usize].into_boxed_slice(),
            due: VecDeque::new(),
            first_set: None,
            len: 0,
        }
    }
}

impl Timers {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.slots.iter_mut().for_each(|slot| *slot = Vec::new());
        self.occupied.fill(0);
        self.due.clear();
        self.len = 0;
    }

    /// Sets a timer.
    pub(super) fn set(&mut self, at: Instant, ticket: Ticket) {
        let noticed = self.place(Timer { at, ticket });
        self.first_set = Some(self.first_set.map_or(noticed, |first| first.min(noticed)));
    }

    /// Puts a timer where it is found in its time. Gives the time at which it is: that of its tick.
    fn place(&mut self, timer: Timer) -> Instant {
        self.len += 1;
        let start = *self.start.get_or_insert_with(|| timer.at.checked_sub(BEFORE).unwrap_or(timer.at));
        let tick = tick_of(start, timer.at);
        if tick < self.next_tick {
            self.due.push_back(timer);
            return timer.at;
        }
        // What is further ahead comes by before its time, and is placed again.
        let number = tick.min(self.next_tick + SLOTS - 1) % SLOTS;
        if let (Some(slot), Some(word)) =
            (self.slots.get_mut(number as usize), self.occupied.get_mut((number / WORD) as usize))
        {
            slot.push(timer);
            *word |= 1 << (number % WORD);
        }
        start + Duration::from_millis(tick)
    }

    /// The question of a timer that is due at `now`, the timer gone.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Ticket> {
        let start = self.start?;
        let end = now.saturating_duration_since(start).as_millis() as u64;
        loop {
            while let Some(&timer) = self.due.front() {
                let is_due = timer.at <= now;
                // Callers' clocks differ a little: it was taken out by one that is ahead.
                if !is_due && tick_of(start, timer.at) < self.next_tick {
                    return None;
                }
                self.due.pop_front();
                self.len -= 1;
                if is_due {
                    return Some(timer.ticket);
                }
                self.place(timer);
            }
            if self.next_tick > end {
                return None;
            }
            match self.next_occupied() {
                Some(tick) if tick <= end => self.turn_to(tick),
                _ => self.next_tick = end + 1,
            }
        }
    }

    /// When to look again for what was set since the last call: a look at this alone costs less than one for the next timer.
    pub(super) fn take_first_set(&mut self) -> Option<Instant> {
        self.first_set.take()
    }

    /// When to look again: at that time something may be due. Timers before it of which `is_alive` says that nothing waits for them any
    /// more are forgotten: as a rule all are, and a wake-up for each would be in vain.
    pub(super) fn next(&mut self, is_alive: impl Fn(Ticket) -> bool) -> Option<Instant> {
        let start = self.start?;
        while let Some(timer) = self.due.front() {
            if is_alive(timer.ticket) {
                return Some(timer.at);
            }
            self.due.pop_front();
            self.len -= 1;
        }
        while let Some(tick) = self.next_occupied() {
            let number = tick % SLOTS;
            let (slot, word) = (self.slots.get_mut(number as usize)?, self.occupied.get_mut((number / WORD) as usize)?);
            let before = slot.len();
            slot.retain(|timer| is_alive(timer.ticket));
            self.len -= before - slot.len();
            if !slot.is_empty() {
                return Some(start + Duration::from_millis(tick));
            }
            *slot = Vec::new();
            *word &= !(1 << (number % WORD));
        }
        None
    }

    /// Takes what is due at a tick, and goes on behind it.
    fn turn_to(&mut self, tick: u64) {
        let number = tick % SLOTS;
        if let (Some(slot), Some(word)) =
            (self.slots.get_mut(number as usize), self.occupied.get_mut((number / WORD) as usize))
        {
            // Its memory goes: a burst is no reason to keep it for every slot.
            self.due.extend(std::mem::take(slot));
            *word &= !(1 << (number % WORD));
        }
        self.next_tick = tick + 1;
    }

    /// The first tick that holds something.
    fn next_occupied(&self) -> Option<u64> {
        let first = self.next_tick % SLOTS;
        let words = SLOTS / WORD;
        // The word that the turn begins in is looked at twice: its upper bits first, its lower ones last.
        (0..=words).find_map(|step| {
            let number = (first / WORD + step) % words;
            let word = *self.occupied.get(number as usize)?;
            let upper = u64::MAX << (first % WORD);
            let word = match step {
                0 => word & upper,
                step if step == words => word & !upper,
                _ => word,
            };
            let slot = number * WORD + u64::from(word.trailing_zeros());
            (word != 0).then(|| self.next_tick + (slot + SLOTS - first) % SLOTS)
        })
    }
}

/// The first tick at which something is due. Rounded up: a timer is never early.
fn tick_of(start: Instant, at: Instant) -> u64 {
    let ahead = at.saturating_duration_since(start);
    ahead.as_secs() * 1000 + u64::from(ahead.subsec_nanos().div_ceil(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a start for the simulated clock")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn timers_are_due_at_their_time_and_not_before() {
        let (start, mut timers) = (start(), Timers::default());
        timers.set(start, (0, 0));
        assert_eq!(timers.take_due(start), Some((0, 0)));
        let times = [1u64, 63, 64, 300, 301, 4500, 8191, 8192, 20_000, 900_000];
        for (number, time) in times.into_iter().enumerate() {
            timers.set(start + Duration::from_millis(time), (number as u32, 1));
        }
        for (number, time) in times.into_iter().enumerate() {
            let at = start + Duration::from_millis(time);
            assert_eq!(timers.take_due(at - Duration::from_micros(1)), None, "{time}");
            assert!(timers.next(|_| true).is_some_and(|next| next <= at), "{time}");
            assert_eq!(timers.take_due(at), Some((number as u32, 1)), "{time}");
            assert_eq!(timers.take_due(at), None, "{time}");
        }
        assert_eq!((timers.len(), timers.next(|_| true)), (0, None));
    }

    #[test]
    fn the_first_that_was_set_is_told_once() {
        let (start, mut timers) = (start(), Timers::default());
        assert_eq!(timers.take_first_set(), None);
        for time in [300, 20, 500] {
            timers.set(start + Duration::from_millis(time), (1, 1));
        }
        // A timer is late by less than a millisecond, for ticks are whole ones.
        let first = timers.take_first_set().unwrap();
        let at = start + Duration::from_millis(20);
        assert!(first >= at && first < at + Duration::from_millis(1), "{:?}", first - at);
        assert_eq!(timers.take_due(first), Some((1, 1)), "it is due when the look is");
        assert_eq!(timers.take_first_set(), None, "those that were there are known");
        timers.set(start, (2, 2));
        assert_eq!(timers.take_first_set(), Some(start), "what is late is due at once");
    }

    #[test]
    fn a_clock_that_is_behind_does_no_harm() {
        let (start, mut timers) = (start(), Timers::default());
        let at = start + Duration::from_micros(10_500);
        timers.set(at, (1, 1));
        assert_eq!(timers.take_due(start), None);
        assert_eq!(timers.take_due(start + Duration::from_millis(10)), None);
        timers.set(start + Duration::from_millis(9), (2, 2));
        assert_eq!(timers.take_due(start), None);
        assert_eq!(timers.take_due(start + Duration::from_millis(11)), Some((2, 2)));
        assert_eq!(timers.take_due(start + Duration::from_millis(11)), Some((1, 1)));
    }

    #[test]
    fn what_is_late_is_due_at_once() {
        let (start, mut timers) = (start(), Timers::default());
        timers.set(start, (0, 0));
        let later = start + Duration::from_secs(3600);
        assert_eq!(timers.take_due(later), Some((0, 0)));
        timers.set(start + Duration::from_secs(1), (1, 1));
        assert!(timers.next(|_| true).is_some_and(|next| next <= later));
        assert_eq!(timers.take_due(later), Some((1, 1)));
    }

    proptest::proptest! {
        #[test]
        fn none_is_lost(times in proptest::collection::vec(0u64..30_000_000, 1..200), steps in proptest::collection::vec(0u64..3_000_000, 1..100)) {
            let (start, mut timers) = (start(), Timers::default());
            let mut left: Vec<_> = times.iter().map(|time| start + Duration::from_micros(*time)).collect();
            timers.set(start, (u32::MAX, 0));
            for (number, at) in left.iter().enumerate() {
                timers.set(*at, (number as u32, 0));
            }
            let mut now = start;
            let mut taken = std::collections::HashSet::new();
            for step in steps.into_iter().chain([40_000_000]) {
                now += Duration::from_micros(step);
                while let Some((number, _)) = timers.take_due(now) {
                    proptest::prop_assert!(taken.insert(number));
                    let early = left.get(number as usize).is_some_and(|at| *at > now);
                    proptest::prop_assert!(!early);
                }
                // Rounding makes a timer late by less than a millisecond.
                let missed = left.iter().enumerate().any(|(number, at)| {
                    *at + Duration::from_millis(1) <= now && !taken.contains(&(number as u32))
                });
                proptest::prop_assert!(!missed);
            }
            left.clear();
            proptest::prop_assert_eq!(timers.len(), 0);
        }
    }

    #[test]
    fn timers_that_nothing_waits_for_are_passed_over_and_gone() {
        let (mut timers, start) = (Timers::default(), start());
        for number in 0..200 {
            timers.set(start + Duration::from_millis(u64::from(number)), (number, 1));
        }
        assert_eq!(timers.take_due(start), Some((0, 1)));
        let next = timers.next(|(number, _)| number == 150).unwrap();
        assert!(next >= start + Duration::from_millis(150) && next < start + Duration::from_millis(151));
        assert_eq!(timers.len(), 50);
        assert_eq!(timers.take_due(start + Duration::from_millis(149)), None);
        assert_eq!(timers.take_due(start + Duration::from_millis(151)), Some((150, 1)));
        assert_eq!((timers.next(|_| false), timers.len()), (None, 0));
        timers.set(start + Duration::from_millis(160), (1, 2));
        assert!(timers.next(|_| true).is_some());
    }
}
