//! Budgets, lines, stale answers: who waits, for whose turn, and what is served meanwhile.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::*;
use crate::forward::upstreams::Upstreams;

#[test]
fn a_budget_is_never_exceeded_and_clients_take_turns() {
    let limits = limits(100, 50);
    let mut world = World::with_limits(1, limits);
    for n in 0..400 {
        world.ask_from(&format!("noisy{n}.example"), n, [10, 0, 0, 1].into());
    }
    world.ask_from("quiet.example", 1000, [10, 0, 0, 2].into());
    let mut pending: Vec<Transmit> = world.sent();
    let at_once = pending.len();
    assert!((45..=50).contains(&at_once), "{at_once} at once: half of a second's");
    let mut order = Vec::new();
    let mut sent_in_all = pending.len();
    for _ in 0..1000 {
        for transmit in std::mem::take(&mut pending) {
            world.hear(&transmit, answer(&transmit, 0));
        }
        order.extend(
            world
                .resolved()
                .into_iter()
                .filter(|s| s.outcome.is_ok())
                .flat_map(|resolved| resolved.waiters.into_iter().map(|released| released.waiter).collect::<Vec<_>>()),
        );
        world.pass(1);
        pending = world.sent();
        sent_in_all += pending.len();
    }
    // Both ends of the second count.
    assert!((95..=120).contains(&sent_in_all), "{sent_in_all} in a second");
    let place = order.iter().position(|&waiter| waiter == 1000).unwrap();
    assert!(place < at_once + 5, "the quiet client waited for {place} others");
}

#[test]
fn what_several_clients_wait_for_goes_first_and_who_waits_longest_is_not_forgotten() {
    let mut world = World::with_limits(1, limits(100, 50));
    let client = |number: u32| IpAddr::from([10, 0, 1, number as u8]);
    // Half a second's leave at once; then one client with a line, two hundred with a question each, and one name of five.
    for n in 0..60 {
        world.ask_from(&format!("line{n}.example"), n, client(0));
    }
    for n in 1..=200 {
        world.ask_from(&format!("single{n}.example"), n, client(n));
    }
    for n in 201..=205 {
        world.ask_from("popular.example", n, client(n));
    }
    let mut pending: Vec<Transmit> = world.sent();
    let at_once = pending.len();
    let mut order = Vec::new();
    for _ in 0..1500 {
        for transmit in std::mem::take(&mut pending) {
            world.hear(&transmit, answer(&transmit, 0));
        }
        world.pass(1);
        world.resolved();
        pending = world.sent();
        let label = |bytes: &[u8]| bytes[13..13 + usize::from(bytes[12])].to_ascii_lowercase();
        order.extend(pending.iter().map(|sent| String::from_utf8(label(&sent.message)).unwrap()));
    }
    let place = |name: &str| order.iter().position(|label| label == name);
    assert!(place("popular").is_some_and(|place| place < 4), "{order:?}");
    // What is left of the line is older than all others: in turns of one client with two hundred it would not have left.
    let last = place("line59").unwrap_or_else(|| panic!("{at_once} at once, then {order:?}"));
    assert!(last < 40, "{last}");
    assert!(order.iter().take(40).filter(|label| label.starts_with("single")).count() >= 15, "turns");
}

#[test]
fn lines_of_questions_that_are_done_are_bounded() {
    let world = World::new(1);
    let mut upstreams = Upstreams::new(HashMap::from([(target(1).address, limits(100, 50))]));
    let number = upstreams.numbers(&world.rule)[0];
    for n in 0..100_000 {
        let client = IpAddr::from([10, 0, (n / 100 % 250) as u8, (n % 100) as u8]);
        upstreams.enqueue(number, (n, 0), client, false, n % 3 == 0);
        upstreams.get_mut(number).unwrap().is_shared((n, 0), 2);
        // None waits any more; whose turn it is is asked now and then.
        upstreams.purge_queues(number, 1000, |_| false);
        if n % 100 == 0 {
            assert_eq!(upstreams.pop_next(world.now, number, |_, _| false), None);
        }
        assert!(upstreams.get(number).unwrap().tickets() <= 1001, "after {n}");
    }
}

#[test]
fn what_comes_after_a_pause_leaves_at_once_as_far_as_there_are_places() {
    let mut world = World::with_limits(1, Limits::AZURE);
    for n in 0..400 {
        world.ask(&format!("name{n}.example"), n);
    }
    let mut pending = world.sent();
    assert_eq!(pending.len(), 180);
    // Answers make places: all have left within some round trips.
    for _ in 0..3 {
        world.pass(5);
        for transmit in std::mem::take(&mut pending) {
            world.hear(&transmit, answer(&transmit, 0));
        }
        pending = world.sent();
    }
    assert_eq!(world.resolved().len(), 400);
}

#[test]
fn what_waited_for_the_end_of_an_outage_is_spread() {
    let mut world = World::with_limits(1, Limits::AZURE);
    for n in 0..8 {
        world.ask(&format!("first{n}.example"), n);
    }
    world.pass(5000);
    for n in 0..400 {
        world.ask(&format!("name{n}.example"), n);
    }
    let last = world.sent().pop().unwrap();
    world.hear(&last, answer(&last, 0));
    assert!(world.sent().len() <= 12, "no storm");
}

#[test]
fn pending_queries_are_bounded() {
    let mut world = World::with_limits(1, limits(0, 5));
    for n in 0..20 {
        world.ask(&format!("slow{n}.example"), n);
    }
    let sent = world.sent();
    assert_eq!(sent.len(), 5);
    world.hear(&sent[0], answer(&sent[0], 0));
    assert_eq!(world.sent().len(), 1, "a place is free");
    world.pass(5000);
    let told: usize = world.resolved().iter().map(|resolved| resolved.waiters.len()).sum();
    assert_eq!(told, 20, "everybody is told in the end");
    world.pass(10_000);
    assert!(world.machine.is_empty());
}

#[test]
fn a_stale_answer_is_taken_when_the_upstream_does_not_answer_in_time() {
    let mut world = World::new(1);
    world.ask_stale("a.example", 1, 5);
    assert_eq!(world.sent().len(), 1, "the upstream is asked first");
    world.pass(1799);
    assert!(world.resolved().is_empty());
    world.pass(1);
    assert_eq!(outcomes(&world.resolved()), [(Err(None), vec![1])]);
    assert!(!world.machine.is_empty(), "the question is still asked, for the cache's sake");
}

#[test]
fn a_private_stale_answer_is_good_for_a_minute_while_others_are_answered() {
    let mut world = World::new(1);
    world.ask_stale("old.example", 1, 61);
    for n in 0..45 {
        world.ask(&format!("fine{n}.example"), 2);
        let is_fine =
            |transmit: &&Transmit| transmit.message.to_ascii_lowercase().windows(4).any(|part| part == b"fine");
        let sent = world.sent();
        let fine = sent.iter().find(is_fine).unwrap();
        world.hear(fine, answer(fine, 0));
        world.resolved();
        world.pass(100);
    }
    assert_eq!(outcomes(&world.resolved()), [(Err(Some(Failure::Silence)), vec![1])]);
}

#[test]
fn stale_answers_do_not_wait_in_line() {
    let mut world = World::with_limits(1, limits(0, 1));
    world.ask("first.example", 1);
    world.ask_stale("stale.example", 2, 5);
    assert_eq!(outcomes(&world.resolved()), [(Err(None), vec![2])], "at once");
    world.ask("miss.example", 3);
    let sent = world.sent();
    world.hear(&sent[0], answer(&sent[0], 0));
    let next = world.sent();
    assert!(
        next[0].message.to_ascii_lowercase().windows(4).any(|bytes| bytes == b"miss"),
        "who waits goes before a refresh"
    );
    world.hear(&next[0], answer(&next[0], 0));
    let last = world.sent();
    assert!(
        last[0].message.to_ascii_lowercase().windows(5).any(|bytes| bytes == b"stale"),
        "the refresh has the next turn"
    );
    world.resolved();
    world.hear(&last[0], answer(&last[0], 0));
    assert_eq!(world.resolved().len(), 1, "its answer is for the cache");
}

#[test]
fn a_single_upstream_that_is_down_is_probed_and_back_at_once() {
    let mut world = World::with_limits(1, limits(950, 180));
    for n in 0..20 {
        world.ask(&format!("dead{n}.example"), n);
    }
    world.pass(5000);
    assert!(outcomes(&world.resolved()).iter().all(|(outcome, _)| *outcome == Err(Some(Failure::Silence))));
    world.sent();
    let mut up = 0;
    for second in 0..900 {
        world.ask_stale(&format!("seen{}.example", second % 50), 1000 + second, 600);
        world.ask(&format!("new{second}.example"), 5000 + second);
        world.pass(1000);
        up += world.sent().len();
        let resolved = world.resolved();
        let stale = outcomes(&resolved).iter().filter(|(outcome, _)| *outcome == Err(None)).count();
        assert!(stale >= 1, "stale at once, however old");
    }
    assert!((900..=900 * 6).contains(&up), "{up} queries in 900 s");
    for n in 0..50 {
        world.ask(&format!("back{n}.example"), 10_000 + n);
    }
    world.resolved();
    let mut answered = Vec::new();
    for _ in 0..400 {
        world.pass(1);
        for transmit in world.sent() {
            world.hear(&transmit, answer(&transmit, 0));
        }
        let resolved = world.resolved();
        answered.extend(outcomes(&resolved).into_iter().filter(|(o, _)| o.is_ok()).flat_map(|(_, waiters)| waiters));
    }
    let back = answered.iter().filter(|&&waiter| waiter >= 10_000).count();
    assert_eq!(back, 50, "all who wait are answered within 0.4 s of the return");
}

#[test]
fn slow_names_do_not_take_every_place() {
    let mut world = World::with_limits(1, limits(950, 36));
    let mut open: Vec<(Instant, Transmit)> = Vec::new();
    let mut quick_waits = Vec::new();
    let mut asked_at = HashMap::new();
    for millisecond in 0..20_000u32 {
        if millisecond % 50 == 0 {
            world.ask(&format!("s{millisecond}.slow.example"), 1_000_000 + millisecond);
        }
        if millisecond % 10 == 0 {
            world.ask(&format!("q{millisecond}.quick.example"), millisecond);
            asked_at.insert(millisecond, world.now);
        }
        world.pass(1);
        let now = world.now;
        for transmit in world.sent() {
            let slow = transmit.message.to_ascii_lowercase().windows(5).any(|bytes| bytes == b"\x04slow");
            open.push((now + Duration::from_millis(if slow { 4000 } else { 5 }), transmit));
        }
        assert!(open.len() <= 36);
        let (due, later) = open.into_iter().partition::<Vec<_>, _>(|(at, _)| *at <= now);
        open = later;
        for (_, transmit) in due {
            world.hear(&transmit, answer(&transmit, 0));
        }
        for (outcome, waiters) in outcomes(&world.resolved()) {
            for waiter in waiters.into_iter().filter(|waiter| *waiter < 1_000_000) {
                assert_eq!(outcome, Ok(Rcode::NOERROR));
                quick_waits.push(now - asked_at[&waiter]);
            }
        }
    }
    quick_waits.sort_unstable();
    assert!(quick_waits.len() >= 1990);
    assert!(quick_waits[quick_waits.len() * 99 / 100] <= Duration::from_millis(15), "{:?}", quick_waits.last());
}

#[test]
fn a_failure_is_not_asked_again_at_once() {
    let mut world = World::new(1);
    world.ask("broken.example", 1);
    let sent = world.sent();
    world.hear(&sent[0], answer(&sent[0], Rcode::SERVFAIL.0));
    world.resolved();
    world.pass(900);
    world.ask("broken.example", 2);
    assert!(world.sent().is_empty());
    assert_eq!(outcomes(&world.resolved()), [(Ok(Rcode::SERVFAIL), vec![2])]);
    world.pass(200);
    world.ask("broken.example", 3);
    assert_eq!(world.sent().len(), 1, "after a second it is");
}

#[test]
fn who_got_no_turn_is_not_told_a_failure_and_keeps_the_place() {
    let mut world = World::with_limits(1, limits(0, 1));
    world.ask("first.example", 1);
    let first = world.sent();
    world.pass(4000);
    world.hear(&first[0], answer(&first[0], 0));
    world.ask("second.example", 2);
    world.ask("third.example", 3);
    world.resolved();
    world.pass(4500);
    let resolved = world.resolved();
    assert!(outcomes(&resolved).contains(&(Err(Some(Failure::BudgetTimeout)), vec![3])), "{:?}", outcomes(&resolved));
    world.pass(500);
    world.ask("third.example", 4);
    let sent: Vec<_> = world.sent();
    assert!(
        sent.iter().any(|t| t.message.to_ascii_lowercase().windows(5).any(|bytes| bytes == b"third")),
        "its place was kept"
    );
}

#[test]
fn one_client_has_so_many_places_and_others_have_theirs() {
    let mut world = World::with_limits(1, limits(1, 1));
    for n in 0..33_000 {
        world.ask(&format!("n{n}.example"), n);
    }
    let given_way = outcomes(&world.resolved());
    let oldest: Vec<u32> = (0..33_000 - 32_768).collect();
    assert_eq!(given_way, [(Err(Some(Failure::BudgetTimeout)), oldest)], "those that waited longest");
    world.ask_from("other.example", 99_999, [10, 0, 0, 2].into());
    assert!(world.resolved().is_empty());
}

#[test]
fn where_places_are_scarce_every_client_has_a_thousand() {
    let mut world = World::with_limits(1, limits(1, 1));
    let mut from = |client: u8, count: u32, number: u32| {
        for n in 0..count {
            world.ask_from(&format!("n{number}.example"), number + n, [10, 0, 0, client].into());
        }
        outcomes(&world.resolved())
    };
    // Four thousand may wait for one question.
    for number in 0..16 {
        assert!(from(1 + (number / 8) as u8, 4096, number * 4096).is_empty(), "places are free");
    }
    assert!(from(3, 1000, 70_000).is_empty(), "a client's own places");
    assert_eq!(from(3, 1, 80_000), [(Err(Some(Failure::BudgetTimeout)), vec![70_000])], "its oldest gives way");
    assert_eq!(from(1, 1, 90_000), [(Err(Some(Failure::BudgetTimeout)), vec![0])]);
}

#[test]
fn a_repeat_while_nobody_answers_waits_until_its_client_gives_up() {
    let mut world = World::new(1);
    for n in 0..3 {
        world.ask(&format!("dead{n}.example"), n);
    }
    world.pass(4500);
    assert_eq!(world.resolved().len(), 3);
    world.ask("dead0.example", 10);
    world.ask("another.example", 11);
    world.pass(4500);
    assert_eq!(
        outcomes(&world.resolved()),
        [(Err(Some(Failure::Silence)), vec![11])],
        "a first query is told by 4.5 s"
    );
    world.pass(399);
    assert!(world.resolved().is_empty());
    world.pass(1);
    assert_eq!(outcomes(&world.resolved()), [(Err(Some(Failure::Silence)), vec![10])]);
}

#[test]
fn questions_that_nobody_waits_for_make_room() {
    let mut world = World::with_limits(1, limits(1, 1));
    for second in 0..12 {
        for n in 0..9_000 {
            world.ask_from(&format!("n{n}.s{second}.example"), n, [10, 0, 0, (n % 200) as u8].into());
        }
        world.pass(1000);
        let told = outcomes(&world.resolved());
        assert!(told.iter().all(|(outcome, _)| *outcome != Err(Some(Failure::Overload))), "in second {second}");
        assert!(world.machine.len() <= 49_152);
    }
}

#[test]
fn who_joins_a_question_that_nobody_waited_for_has_it_asked_again() {
    let mut world = World::new(1);
    world.ask_stale("a.example", 1, 5);
    world.pass(1800);
    assert_eq!(outcomes(&world.resolved()), [(Err(None), vec![1])]);
    assert_eq!(world.sent().len(), 3);
    world.pass(100);
    world.ask_stale("a.example", 2, 7);
    world.pass(700);
    let sent = world.sent();
    assert_eq!(sent.len(), 1, "the last try was the first of a new round, and has had its time");
    world.hear(&sent[0], answer(&sent[0], 0));
    assert_eq!(outcomes(&world.resolved()), [(Ok(Rcode::NOERROR), vec![2])]);
}

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
        let mut long = answer(&sent[0], 0);
        long.resize(long.len() + text, 0);
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
                let mut long = answer(&sent, 0);
                long.resize(long.len() + 90, 0);
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
