//! Clients that wait: how many of their queries may at once, and at which pace their replies leave. Nothing is known here of
//! the questions that they wait for, but for their tickets.

use std::collections::hash_map::{Entry, OccupiedEntry};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::bounds::ForwardBounds;
use super::question::{Delivery, Failure, Ticket, Turn, Waiting};
use crate::wire::UpstreamMessage;

/// How long an answer is of use to a client: Azure asks forwarders for more than a timeout of 4 s, glibc gives up after 5.
pub const CLIENT_TIMEOUT: Duration = Duration::from_millis(4500);
/// Queries of one client that wait at once where places are scarce.
const PER_CLIENT_SURE: u32 = 1000;
/// And where they are not: what a client sends within its own timeout at three times Azure's rate, for an on-premises server
/// is one client too. Lines take turns, so they are no burden to others.
const PER_CLIENT_MAX: u32 = 32_768;
/// From how many waiting queries of one client on its replies are paced: they leave at less than twice the mean rate at
/// which the queries came. Else a slow answer gathers seconds of queries from a forged address, and all replies reach that
/// address as one pulse (CVE-2024-33655).
const PACED_FROM: u32 = 64;
/// The time between two replies of a pulse, in twentieths of that between two queries: so much less than twice as often that
/// ten milliseconds have no more than twice their mean though replies leave [`PACE_STEP`] early and [`LATE_FREE`] late, and
/// one may take [`WHOLE_MAX`].
const PULSE_PACE: u32 = 17;
/// How long a byte of a pulse takes at most: 40 a millisecond, 320 kbit/s, are none, however few queries a second there are.
const BYTE_MAX: Duration = Duration::from_micros(25);
/// And between others: nearly twice as often, so that what one busy moment gathered is gone soon.
const USUAL_PACE: u32 = 11;
/// From how long a wait on the bytes of a reply count, whatever its question: answers to many questions that are all held
/// back for less make no pulse worth forging, while a busy client that waits so long for each of its answers, an on-premises
/// server whose upstream is on another continent, must get them at the rate of its queries.
const GATHERED_FROM: Duration = Duration::from_millis(250);
/// And from how many queries on that one answer ends the wait of, however short: they are a pulse by themselves.
const GATHERED_COUNT: usize = 8;
/// Behind a pulse that takes longer than this to leave, what waited for less is part of it. It is cut, so that the pulse ends.
const PULSE_FROM: Duration = Duration::from_millis(20);
/// A reply that waited for less counts as one up to this many times the length of its query, and by its bytes above.
const FREE_TIMES: u64 = 4;
/// A paced reply that would take more than this of its client's pace is cut (TC): one alone would be a pulse. A client that
/// is there asks by TCP, where addresses are not forged.
const WHOLE_MAX: Duration = Duration::from_micros(2500);
/// Nor do whole replies make those behind them wait for longer than this.
const BACKLOG_MAX: Duration = Duration::from_millis(200);
/// And where they are of a client that asks little: several of its queries have one answer when names are asked for anew.
const BACKLOG_OF_FEW: Duration = Duration::from_millis(500);
/// Over which time the mean rate is taken, and at most twice that.
const WINDOW: Duration = Duration::from_millis(2500);
/// Replies are not held back for less.
const PACE_STEP: Duration = Duration::from_micros(500);
/// How late a reply of a pulse may leave for those behind it to keep to their turns: what was to leave in this time leaves in
/// one moment. Timers count milliseconds, and so does the wait for events, so that they are late by two at times.
const LATE_FREE: Duration = Duration::from_millis(3);
/// How long after the deadline for an answer a reply may still leave: no client waits longer than 5 s.
const LATE_MAX: Duration = Duration::from_millis(500);
/// Bytes of a query beside its question: header and OPT record.
const QUERY_FIXED: usize = 23;
/// Bytes of an OPT record, which a reply may have though the upstream's answer had none.
const OPT_LEN: usize = 11;
/// Bytes that a reply of failure adds to its query, beside its text: an extended error, and some to spare.
const FAILURE_FIXED: usize = 16;
/// Tickets of one client that are not looked through for those that are done.
const TICKETS_MIN: usize = 64;
/// Lists of tickets kept for the next client, so that one that waits for a single answer costs no allocation: 256 KiB at most.
const SPARE_TICKETS_MAX: usize = 256;

/// The places that one client's queries take among those that wait.
#[derive(Debug, Default)]
struct ClientLimits {
    count: u32,
    /// The questions that it waits for, oldest in front; those that are done are passed over.
    tickets: VecDeque<Ticket>,
    /// How many tickets there may be before those that are done go.
    purge_at: usize,
    /// How many of its queries began to wait in the current window and in the one before, and how long that one was.
    arrivals: [u32; 2],
    window_start: Option<Instant>,
    last_arrival: Option<Instant>,
    window_before: Duration,
    /// When the next paced reply may leave.
    next_reply: Option<Instant>,
    /// How late paced replies have been in all, beyond what is free: all that are yet to leave do so much later.
    late: Duration,
}

impl ClientLimits {
    fn note_arrival(&mut self, now: Instant) {
        let start = *self.window_start.get_or_insert(now);
        if now >= start + WINDOW {
            let [current, _] = self.arrivals;
            self.arrivals = [0, current];
            (self.window_start, self.window_before) = (Some(now), now.saturating_duration_since(start));
        }
        self.last_arrival = Some(now);
        let [current, _] = &mut self.arrivals;
        *current = current.saturating_add(1);
    }

    /// The mean time between two of its queries.
    fn mean_interval(&self) -> Duration {
        let [current, before] = self.arrivals;
        // What came in one moment may leave in one.
        let span = self.last_arrival.zip(self.window_start).map(|(last, start)| last.saturating_duration_since(start));
        (span.unwrap_or_default() + self.window_before) / current.saturating_add(before).max(1)
    }

    /// Whether a reply may leave whose turn it was to be; else when to ask again. Those of a pulse keep their distance to one
    /// that was late: a worker that was busy makes no pulse of what was to leave meanwhile.
    fn take_turn(&mut self, now: Instant, turn: Turn) -> Result<(), Instant> {
        let Some(known) = turn.late else { return Ok(()) };
        let moved = turn.at + self.late.saturating_sub(known);
        // What others were late must not make it miss its time. Such replies leave as their queries came.
        let at = moved.min(turn.latest.max(turn.at));
        if at > now {
            return Err(at);
        }
        if at == moved {
            let late = now.saturating_duration_since(at).saturating_sub(LATE_FREE);
            self.late += late;
            self.next_reply = self.next_reply.map(|next| next + late);
        }
        Ok(())
    }

    /// When a reply may leave to a query with this deadline, and how long it may be then.
    fn pace(&mut self, now: Instant, deadline: Instant, lengths: Lengths) -> (Delivery, usize) {
        // Those that are yet to leave count: what is left of a pulse is not what few queries wait for.
        if self.count < PACED_FROM {
            return (Delivery::Now, usize::MAX);
        }
        let latest = deadline + LATE_MAX;
        let waited = CLIENT_TIMEOUT.saturating_sub(deadline.saturating_duration_since(now));
        let at = self.next_reply.map_or(now, |at| at.max(now));
        if at > latest {
            return (Delivery::Never, 0);
        }
        let is_gathered = waited >= GATHERED_FROM || lengths.together >= GATHERED_COUNT;
        let own = self.mean_interval() * if is_gathered { PULSE_PACE } else { USUAL_PACE } / 20;
        let slowest = BYTE_MAX * u32::try_from(lengths.query).unwrap_or(u32::MAX);
        let (interval, asks_little) = (own.min(slowest), own > slowest * 2);
        let backlog_max = match () {
            () if asks_little => BACKLOG_OF_FEW,
            () if is_gathered => BACKLOG_MAX,
            () => PULSE_FROM,
        };
        // Whole ones must not make those behind them miss their time: a failure is told at the deadline, with little left.
        let is_behind = at > now + backlog_max.min(latest.saturating_duration_since(now) / 2);
        let counts_bytes = is_gathered || is_behind || lengths.times() > FREE_TIMES;
        let whole = if counts_bytes { lengths.share_of(interval) } else { interval };
        let is_cut = whole > interval && ((whole > WHOLE_MAX && !asks_little) || is_behind);
        let takes = if is_cut { interval } else { whole };
        self.next_reply = Some(at + takes);
        let room = match () {
            () if is_cut => 0,
            () if counts_bytes => lengths.reply.max(lengths.query),
            () => usize::MAX,
        };
        let turn = Turn { at, late: is_gathered.then_some(self.late), latest: latest - LATE_MAX / 2 };
        (if at <= now + PACE_STEP { Delivery::Now } else { Delivery::At(turn) }, room)
    }
}

/// How many bytes a query has, about how many its reply will have, and how many replies the same answer makes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    query: usize,
    reply: usize,
    together: usize,
}

impl Lengths {
    /// Those of a question whose upstream gave this, or failed as this text says, to so many who waited.
    pub(super) fn of(
        section: &[u8],
        outcome: Result<&UpstreamMessage, Failure>,
        detail: Option<&str>,
        together: usize,
    ) -> Self {
        let query = section.len() + QUERY_FIXED;
        let reply = match outcome {
            Ok(message) => message.bytes.len() + OPT_LEN,
            // No reply at all.
            Err(Failure::BudgetTimeout) => 0,
            Err(_) => query + FAILURE_FIXED + detail.map_or(0, str::len),
        };
        Self { query, reply, together }
    }

    /// With a reply from an answer of so many bytes instead.
    fn with_answer(self, bytes: usize) -> Self {
        Self { reply: bytes + OPT_LEN, ..self }
    }

    /// With so many bytes of the reply that other answers gave.
    fn beside(self, bytes: u16) -> Self {
        Self { reply: self.reply + usize::from(bytes), ..self }
    }

    /// How many times as long as the query the reply is.
    fn times(self) -> u64 {
        (self.reply / self.query) as u64
    }

    /// What the reply takes of the pace where one as long as its query takes `interval`.
    fn share_of(self, interval: Duration) -> Duration {
        let nanoseconds = interval.as_nanos() * self.reply.max(self.query) as u128 / self.query as u128;
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

/// All clients that wait.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) bounds: ForwardBounds,
    places: HashMap<IpAddr, ClientLimits, foldhash::fast::RandomState>,
    /// Lists of clients that wait no longer, empty.
    spare_tickets: Vec<VecDeque<Ticket>>,
    /// How many places are taken.
    waiting: usize,
}

impl Clients {
    pub(super) fn new(bounds: ForwardBounds) -> Self {
        Self { bounds, places: HashMap::default(), spare_tickets: Vec::new(), waiting: 0 }
    }

    /// How many queries wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether no query waits.
    pub(super) fn are_gone(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether all places are taken.
    pub(super) fn are_full(&self) -> bool {
        self.waiting >= self.bounds.waiting
    }

    /// Whether a client has all the places that it may.
    pub(super) fn has_too_many(&self, client: IpAddr) -> bool {
        let most = if self.waiting < self.bounds.scarce() { PER_CLIENT_MAX } else { PER_CLIENT_SURE };
        // Where all together have fewer, no client has to be looked up.
        self.waiting >= most as usize && self.places.get(&client).is_some_and(|places| places.count >= most)
    }

    /// A query of a client waits for a question from now on. `is_live` knows which questions are not done.
    pub(super) fn acquire(&mut self, now: Instant, client: IpAddr, ticket: Ticket, is_live: impl Fn(Ticket) -> bool) {
        let spare = &mut self.spare_tickets;
        let new = || ClientLimits { tickets: spare.pop().unwrap_or_default(), ..ClientLimits::default() };
        let places = self.places.entry(client).or_insert_with(new);
        places.note_arrival(now);
        places.count += 1;
        self.waiting += 1;
        places.tickets.push_back(ticket);
        if places.tickets.len() > places.purge_at.max(TICKETS_MIN) {
            places.tickets.retain(|&ticket| is_live(ticket));
            places.purge_at = places.tickets.len() * 2;
        }
    }

    /// The question that a client has waited for longest, which may be done; it is forgotten.
    pub(super) fn take_oldest(&mut self, client: IpAddr) -> Option<Ticket> {
        self.places.get_mut(&client)?.tickets.pop_front()
    }

    /// When the reply to a waiter leaves that waits no longer, and how many bytes it may have; one that leaves later keeps
    /// its place until [`Self::may_leave`] lets it.
    pub(super) fn deliver<W>(
        &mut self,
        now: Instant,
        waiting: &Waiting<W>,
        use_stale: bool,
        lengths: Lengths,
    ) -> (Delivery, usize) {
        let lengths = match waiting.stale {
            Some(stale) if use_stale => lengths.with_answer(stale.len.into()),
            _ => lengths,
        };
        let Entry::Occupied(mut places) = self.places.entry(waiting.client) else {
            return (Delivery::Now, usize::MAX);
        };
        let (delivery, room) = if waiting.is_datagram && lengths.reply > 0 {
            places.get_mut().pace(now, waiting.deadline, lengths.beside(waiting.beside))
        } else {
            (Delivery::Now, usize::MAX)
        };
        if !matches!(delivery, Delivery::At(_)) {
            self.waiting = self.waiting.saturating_sub(1);
            leave(places, &mut self.spare_tickets);
        }
        (delivery, room)
    }

    /// Whether a reply may leave whose turn it was to be, after which its query waits no longer; else when to ask again.
    pub(super) fn may_leave(&mut self, now: Instant, client: IpAddr, turn: Turn) -> Result<(), Instant> {
        if let Some(places) = self.places.get_mut(&client) {
            places.take_turn(now, turn)?;
        }
        self.leave(client);
        Ok(())
    }

    /// A query of a client waits no longer.
    pub(super) fn leave(&mut self, client: IpAddr) {
        if let Entry::Occupied(places) = self.places.entry(client) {
            self.waiting = self.waiting.saturating_sub(1);
            leave(places, &mut self.spare_tickets);
        }
    }

    /// Tickets of all clients.
    #[cfg(test)]
    pub(super) fn tickets(&self) -> usize {
        self.places.values().map(|places| places.tickets.len()).sum()
    }
}

/// One of a client's queries waits no longer: one that has no other is forgotten.
fn leave(mut places: OccupiedEntry<'_, IpAddr, ClientLimits>, spare_tickets: &mut Vec<VecDeque<Ticket>>) {
    let limits = places.get_mut();
    limits.count = limits.count.saturating_sub(1);
    if limits.count > 0 {
        return;
    }
    let mut tickets = std::mem::take(&mut limits.tickets);
    places.remove();
    if tickets.capacity() <= TICKETS_MIN && spare_tickets.len() < SPARE_TICKETS_MAX {
        tickets.clear();
        spare_tickets.push(tickets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_of_questions_that_are_done_go() {
        #[expect(clippy::disallowed_methods, reason = "a start for the simulated clock")]
        let now = Instant::now();
        let mut clients = Clients::new(ForwardBounds::MOST);
        let client = IpAddr::from([10, 0, 0, 1]);
        for generation in 0..100_000 {
            clients.acquire(now, client, (0, generation), |_| false);
        }
        assert!(clients.tickets() <= TICKETS_MIN + 1);
    }
}
