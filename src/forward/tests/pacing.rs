//! The pace at which replies leave that waited.

use std::collections::{BTreeMap, VecDeque};

use super::*;

/// What became of queries that waited for one answer.
struct Replies {
    /// Bytes of the replies by the millisecond in which they leave after the answer.
    leave: BTreeMap<u64, usize>,
    /// Replies that never do.
    never: usize,
    /// Replies that are cut.
    cut: usize,
    /// Bytes of all queries.
    asked: usize,
}

impl Replies {
    /// Of so many queries, sent over so many milliseconds, for an answer of so many bytes beside its question.
    fn new(queries: u32, milliseconds: u64, text: usize) -> Self {
        Self::with_busy_worker(queries, milliseconds, text, 0)
    }

    fn with_busy_worker(queries: u32, milliseconds: u64, text: usize, busy: u64) -> Self {
        let mut world = World::new(1);
        world.ask("slow.example", 0);
        let sent = world.sent();
        let mut waiter = 1;
        for millisecond in 1..=milliseconds {
            while u64::from(waiter) * milliseconds < u64::from(queries) * millisecond {
                world.ask("slow.example", waiter);
                waiter += 1;
            }
            world.pass(1);
        }
        world.resolved();
        let long = lengthened(&sent[0], answer(&sent[0], 0).len() + text);
        let len = long.len();
        // As clients send it, without what pldns adds for its upstream.
        let query_len = Message::parse(&sent[0].message).unwrap().question_end + 11;
        let mut replies = Self { leave: BTreeMap::new(), never: 0, cut: 0, asked: query_len * queries as usize };
        world.hear(&sent[0], long);
        let mut later = VecDeque::new();
        let start = world.now;
        for released in world.resolved().into_iter().flat_map(|resolved| resolved.waiters) {
            let is_cut = len > released.room;
            let bytes = if is_cut { query_len } else { len };
            replies.cut += usize::from(is_cut);
            match released.delivery {
                Delivery::Now => *replies.leave.entry(0).or_insert(0) += bytes,
                Delivery::At(turn) => later.push_back((turn, bytes)),
                Delivery::Never => replies.never += 1,
            }
        }
        assert!(world.machine.has_waiters() || later.is_empty(), "replies that leave later keep their places");
        let mut millisecond = 0;
        while !later.is_empty() {
            millisecond += 1;
            // Of each 50 ms the worker is busy with something else for as long.
            if millisecond % 50 < busy {
                continue;
            }
            let now = start + Duration::from_millis(millisecond);
            while let Some((_, bytes)) = later.pop_front_if(|(turn, _)| {
                turn.at <= now && world.machine.may_leave(now, [10, 0, 0, 1].into(), *turn).is_ok()
            }) {
                *replies.leave.entry(millisecond).or_insert(0) += bytes;
            }
        }
        assert!(!world.machine.has_waiters());
        replies
    }

    /// The most bytes that leave in 10 ms.
    fn largest(&self) -> usize {
        (0..6000u64).map(|start| self.leave.range(start..start + 10).map(|(_, bytes)| bytes).sum()).max().unwrap()
    }
}

#[test]
fn replies_that_waited_leave_at_twice_the_rate_of_their_queries_at_most() {
    // From 850 a second for four seconds to 20,000 for ten milliseconds; as long as their queries, and up to forty times as
    // long.
    let waits =
        [(3400, 4000), (5000, 1000), (2000, 400), (200, 200), (100, 100), (500, 100), (75, 50), (150, 30), (200, 10)];
    for (queries, milliseconds) in waits {
        for text in [0, 20, 40, 80, 120, 160, 200, 700, 1200] {
            for busy in [0, 1, 4, 12] {
                let replies = Replies::with_busy_worker(queries, milliseconds, text, busy);
                let mean = replies.asked as u64 * 10 / milliseconds;
                let largest = replies.largest() as u64;
                let case = format!("{queries} in {milliseconds} ms, {text} bytes, {busy} ms busy");
                assert!(largest <= 2 * mean, "{case}: {largest} bytes in 10 ms, {mean} asked");
                assert_eq!(replies.never, 0, "{case}");
                assert!(replies.leave.keys().all(|at| *at <= 5000), "{case}");
                assert!(text > 0 || replies.cut == 0, "{case}");
            }
        }
    }
}

#[test]
fn replies_are_whole_where_that_makes_no_pulse() {
    // One name that everybody on a network behind one address begins with, 5,000 a second for 30 ms.
    let replies = Replies::new(150, 30, 90);
    assert_eq!((replies.never, replies.cut), (0, 0));
    assert!(replies.leave.keys().all(|at| *at <= 80), "{:?}", replies.leave);
    // Of a pulse of replies somewhat longer than their queries, those whole that leave within 200 ms.
    let replies = Replies::new(1500, 2000, 20);
    assert!(replies.never == 0 && (1350..=1450).contains(&replies.cut), "{}", replies.cut);
    // Those of a moment, and few, leave in a moment.
    let replies = Replies::new(60, 1000, 700);
    assert_eq!((replies.leave.len(), replies.never, replies.cut), (1, 0, 0));
    let replies = Replies::new(500, 5, 0);
    assert!(replies.leave.keys().all(|at| *at <= 5), "{:?}", replies.leave);
}

#[test]
fn a_client_that_asks_little_gets_whole_replies() {
    // A host with a hundred queries a second, when a name that it asks for again and again is answered at last.
    for (queries, milliseconds) in [(100, 1000), (180, 4000), (70, 300)] {
        let replies = Replies::new(queries, milliseconds, 60);
        assert_eq!((replies.never, replies.cut), (0, 0), "{queries} in {milliseconds} ms");
        assert!(replies.leave.keys().all(|at| *at <= 520), "{:?}", replies.leave);
        assert!(replies.largest() <= 1232, "no more than one reply may have");
    }
}

#[test]
fn replies_to_many_names_leave_as_fast_as_they_are_asked() {
    // An on-premises server: 2,000 a second to an upstream 60 ms away, answers four times as long as their queries. For 30 ms
    // the worker is busy with something else.
    let client = IpAddr::from([10, 0, 0, 1]);
    let mut world = World::new(1);
    let (mut asked, mut later) = (VecDeque::new(), VecDeque::<Turn>::new());
    for millisecond in 0..500 {
        for name in 0..2 {
            world.ask(&format!("n{millisecond}-{name}.example"), millisecond * 2 + name);
        }
        asked.push_back((millisecond + 60, world.sent()));
        world.pass(1);
        if (250..280).contains(&millisecond) {
            continue;
        }
        let now = world.now;
        while later.pop_front_if(|turn| turn.at <= now && world.machine.may_leave(now, client, *turn).is_ok()).is_some()
        {
        }
        while let Some((_, sent)) = asked.pop_front_if(|(at, _)| *at <= millisecond) {
            for sent in sent {
                let long = lengthened(&sent, answer(&sent, 0).len() + 90);
                let len = long.len();
                world.hear(&sent, long);
                for released in world.resolved().into_iter().flat_map(|resolved| resolved.waiters) {
                    assert!(len <= released.room, "at {millisecond} ms");
                    if let Delivery::At(turn) = released.delivery {
                        assert!((280..320).contains(&millisecond), "at {millisecond} ms");
                        assert!(turn.at <= now + Duration::from_millis(20), "at {millisecond} ms");
                        later.push_back(turn);
                    }
                }
            }
        }
    }
    assert!(later.is_empty());
}

#[test]
fn each_query_of_a_busy_client_has_its_failure_in_an_outage() {
    // Names never asked before, from an on-premises server; its replies leave when the thread has its turn, every so many
    // milliseconds.
    let client = IpAddr::from([10, 0, 0, 1]);
    for (a_second, turn_of) in [(100, 1), (300, 1), (300, 5), (400, 5), (400, 9), (1000, 1), (1000, 9), (3000, 5)] {
        let mut world = World::new(1);
        let mut asked = Vec::new();
        let mut later = VecDeque::<(Turn, u32)>::new();
        let mut told = 0;
        for millisecond in 0..13_000_u64 {
            while millisecond < 8000 && (asked.len() as u64) * 1000 < a_second * millisecond {
                world.ask(&format!("n{}.example", asked.len()), asked.len() as u32);
                asked.push(millisecond);
            }
            world.pass(1);
            if millisecond % turn_of > 0 {
                continue;
            }
            let case = format!("{a_second} a second, a turn every {turn_of} ms, at {millisecond} ms");
            for released in world.resolved().into_iter().flat_map(|resolved| resolved.waiters) {
                match released.delivery {
                    Delivery::Now => told += 1,
                    Delivery::At(turn) => later.push_back((turn, released.waiter)),
                    Delivery::Never => panic!("{case}: no reply"),
                }
            }
            let now = world.now;
            while let Some((_, waiter)) =
                later.pop_front_if(|(turn, _)| turn.at <= now && world.machine.may_leave(now, client, *turn).is_ok())
            {
                assert!(millisecond <= asked[waiter as usize] + 5000, "{case}: later than 5 s");
                told += 1;
            }
        }
        assert_eq!((told, later.len()), (asked.len(), 0), "{a_second} a second");
    }
}
