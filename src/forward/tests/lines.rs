//! Budgets, lines, stale answers: who waits, for whose turn, and what is served meanwhile.

use std::collections::HashMap;

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
fn a_repeat_while_no_upstream_answers_waits_until_its_client_gives_up() {
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
fn questions_that_no_client_waits_for_make_room() {
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
fn a_stale_answer_is_waited_for_once_and_not_by_each_who_asks() {
    let mut world = World::new(1);
    world.ask_stale("a.example", 1, 5);
    world.pass(1800);
    assert_eq!(outcomes(&world.resolved()), [(Err(None), vec![1])]);
    // The same client over TCP, or another one.
    world.ask_stale("a.example", 2, 7);
    assert_eq!(outcomes(&world.resolved()), [(Err(None), vec![2])]);
    world.ask("a.example", 3);
    world.pass(1800);
    assert!(world.resolved().is_empty(), "it has no stale answer and waits");
    let sent = world.sent();
    let last = sent.last().unwrap();
    world.hear(last, answer(last, 0));
    assert_eq!(outcomes(&world.resolved()), [(Ok(Rcode::NOERROR), vec![3])]);
    world.ask_stale("a.example", 4, 20);
    world.pass(1799);
    assert!(world.resolved().is_empty(), "a new question waits");
}

#[test]
fn a_client_that_joins_a_question_without_clients_has_it_asked_again() {
    let mut world = World::new(1);
    world.ask_stale("a.example", 1, 5);
    world.pass(1800);
    assert_eq!(outcomes(&world.resolved()), [(Err(None), vec![1])]);
    assert_eq!(world.sent().len(), 3);
    world.pass(100);
    world.ask("a.example", 2);
    world.pass(700);
    let sent = world.sent();
    assert_eq!(sent.len(), 1, "the last try was the first of a new round, and has had its time");
    world.hear(&sent[0], answer(&sent[0], 0));
    assert_eq!(outcomes(&world.resolved()), [(Ok(Rcode::NOERROR), vec![2])]);
}
