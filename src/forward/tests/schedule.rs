//! When and how a question is asked again: by measured times, over TCP, with less; and what is learned from that.

use super::*;

/// The upstream's answers took so long, often enough that it is known.
fn with_known_times(upstreams: u8, milliseconds: u64) -> World {
    let mut world = World::new(upstreams);
    for n in 0..200 {
        world.ask(&format!("warm{n}.known.example"), 0);
        world.pass(milliseconds);
        for transmit in world.sent() {
            world.hear(&transmit, answer(&transmit, 0));
        }
    }
    world.resolved();
    world
}

/// Tries as they come: after how many milliseconds, by which way, with which OPT record.
fn attempts(world: &mut World, milliseconds: u64) -> Vec<(u64, Via, &'static str)> {
    let mut seen = Vec::new();
    for at in 0..=milliseconds {
        for transmit in world.sent() {
            seen.push((at, transmit.via, form(&transmit)));
        }
        if at < milliseconds {
            world.pass(1);
        }
    }
    seen
}

fn form(transmit: &Transmit) -> &'static str {
    let message = Message::parse(&transmit.message).unwrap();
    match message.records.iter().find(|record| record.rtype == Rtype::OPT) {
        Some(opt) if opt.data().is_empty() => "edns",
        Some(_) => "option",
        None => "plain",
    }
}

fn asked(transmit: &Transmit) -> &[u8] {
    &transmit.message[HEADER_LEN..Message::parse(&transmit.message).unwrap().question_end]
}

#[test]
fn tries_follow_the_measured_time_and_silence_leads_elsewhere() {
    use Via::{Datagram, Stream};
    let mut world = with_known_times(1, 10);
    world.ask("a.example", 1);
    let seen = attempts(&mut world, 4499);
    let expected = [
        (0, Datagram, "option"),
        (50, Datagram, "option"),
        (150, Stream, "option"),
        (350, Datagram, "edns"),
        (750, Datagram, "plain"),
    ];
    assert_eq!(seen[..5], expected);
    assert!(seen.len() <= 8, "{seen:?}");
    assert!(world.resolved().is_empty());
    world.pass(1);
    let resolved = world.resolved();
    assert_eq!(outcomes(&resolved), [(Err(Some(Failure::Silence)), vec![1])]);
    assert_eq!(resolved[0].detail.as_deref(), Some("10.0.1.1: timed out"));
}

#[test]
fn an_upstream_of_unknown_speed_is_given_400_milliseconds() {
    let mut world = World::new(1);
    world.ask("a.example", 1);
    let mut ids = Vec::new();
    let mut at = Vec::new();
    for millisecond in 0..4500 {
        for transmit in world.sent() {
            ids.push(Header::read(&transmit.message).unwrap().id);
            at.push(millisecond);
        }
        world.pass(1);
    }
    assert_eq!(at, [0, 400, 1200, 2200, 3200, 4200]);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6, "each try has an ID of its own");
}

#[test]
fn several_upstreams_take_turns_at_the_same_pace() {
    let mut world = with_known_times(2, 10);
    world.ask("a.example", 1);
    let mut seen = Vec::new();
    for at in 0..400 {
        seen.extend(world.sent().iter().map(|transmit| (at, transmit.to)));
        world.pass(1);
    }
    let (one, two) = (target(1).address, target(2).address);
    // Nothing is known of the second one's speed.
    assert_eq!(seen[..2], [(0, one), (50, two)]);
    assert!(seen.len() < 4, "{seen:?}");
}

#[test]
fn lost_queries_are_healed_and_healthy_ones_are_not_repeated() {
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % 1000
    };
    for (lost, failed_at_most, ratio) in [(0, 0, 101), (10, 0, 105), (100, 2, 140), (300, 10, 260)] {
        let mut world = with_known_times(1, 5);
        let count = 10_000;
        let (mut sent, mut answered) = (0, 0);
        let mut under_way: Vec<(Instant, Transmit)> = Vec::new();
        for millisecond in 0..count + 5000 {
            if millisecond < count {
                world.ask(&format!("n{millisecond}.z{}.example", millisecond % 50), millisecond);
            }
            world.pass(1);
            for transmit in world.sent() {
                sent += 1;
                let is_lost = transmit.via == Via::Datagram && (random() < lost || random() < lost);
                if !is_lost {
                    under_way.push((world.now + Duration::from_millis(3 + random() % 5), transmit));
                }
            }
            let (due, later) = under_way.into_iter().partition::<Vec<_>, _>(|(at, _)| *at <= world.now);
            under_way = later;
            for (_, transmit) in due {
                world.hear(&transmit, answer(&transmit, 0));
            }
            let resolved = world.resolved();
            answered += resolved.iter().filter(|resolved| resolved.outcome.is_ok()).count();
        }
        let failed = count as usize - answered;
        assert!(failed <= failed_at_most, "{failed} of {count} failed at {lost} in a thousand each way");
        assert!(sent * 100 <= count * ratio, "{sent} queries for {count} questions at {lost} in a thousand each way");
    }
}

#[test]
fn an_outage_costs_few_queries_and_its_end_is_no_storm() {
    let mut world = with_known_times(1, 5);
    let (mut sent, mut asked) = (0, 0);
    let run = |world: &mut World, milliseconds: u32, sent: &mut u32, asked: &mut u32, is_up: bool| {
        let mut most = 0;
        let mut in_window = std::collections::VecDeque::new();
        for _ in 0..milliseconds / 2 {
            *asked += 1;
            world.ask(&format!("o{asked}.example"), *asked);
            world.pass(2);
            let new = world.sent();
            *sent += new.len() as u32;
            in_window.push_back(new.len());
            if in_window.len() > 50 {
                in_window.pop_front();
            }
            most = most.max(in_window.iter().sum::<usize>());
            if is_up {
                for transmit in &new {
                    world.hear(transmit, answer(transmit, 0));
                }
            }
        }
        most
    };
    run(&mut world, 3000, &mut 0, &mut asked, true);
    world.resolved();
    let before = asked;
    run(&mut world, 8000, &mut sent, &mut asked, false);
    let in_outage = asked - before;
    assert!(sent * 10 <= in_outage * 13, "{sent} queries for {in_outage} questions");
    let told = world.resolved();
    assert!(outcomes(&told).iter().all(|(outcome, _)| *outcome == Err(Some(Failure::Silence))), "none ends in silence");
    // 500 a second is usual: twice that, and a little for a window of 100 ms.
    let most = run(&mut world, 6000, &mut sent, &mut asked, true);
    assert!(most <= 130, "{most} queries in 100 ms");
    let resolved = world.resolved();
    let outcomes = outcomes(&resolved);
    assert!(outcomes.iter().all(|(outcome, _)| *outcome != Err(Some(Failure::BudgetTimeout))));
    assert_eq!(world.machine.take_news().len(), 2, "down and back");
}

/// An upstream that drops queries which carry more than `understood`.
fn ask_through(world: &mut World, name: &str, understood: &[&str], by_stream: bool) -> (u64, usize) {
    world.ask(name, 1);
    let mut count = 0;
    for at in 0..4500 {
        for transmit in world.sent() {
            count += 1;
            let understands = understood.contains(&form(&transmit));
            if (transmit.via == Via::Datagram && understands) || (transmit.via == Via::Stream && by_stream) {
                world.hear(&transmit, answer(&transmit, 0));
            }
        }
        if world.resolved().iter().any(|resolved| resolved.outcome.is_ok()) {
            return (at, count);
        }
        world.pass(1);
    }
    panic!("{name} was not answered");
}

#[test]
fn an_upstream_that_drops_our_option_is_answered_and_remembered() {
    for (understood, by_stream) in
        [(&["edns", "plain"][..], false), (&["edns", "plain"], true), (&["plain"], false), (&["plain"], true)]
    {
        let mut world = World::new(1);
        let mut last = (u64::MAX, 0);
        for n in 0..6 {
            last = ask_through(&mut world, &format!("a{n}.example"), understood, by_stream);
            world.pass(1000);
        }
        assert_eq!(last, (0, 1), "remembered: {understood:?}, TCP {by_stream}");
        // Now and then it is tried in full; a client that asks then waits for a moment.
        world.pass(61_000);
        assert_eq!(ask_through(&mut world, "later.example", understood, by_stream).1, 2);
        // The firewall was replaced.
        world.pass(121_000);
        assert_eq!(ask_through(&mut world, "new.example", &["option"], false), (0, 1));
        world.ask("full.example", 1);
        assert_eq!(form(&world.sent()[0]), "option");
    }
}

#[test]
fn a_lost_query_lowers_nothing() {
    let mut world = with_known_times(1, 5);
    for n in 0..50 {
        world.ask(&format!("l{n}.example"), 1);
        world.pass(60);
        let sent = world.sent();
        assert_eq!(form(&sent[1]), "option", "{n}");
        world.hear(&sent[1], answer(&sent[1], 0));
        world.ask(&format!("m{n}.example"), 1);
        world.pass(200);
        let by_stream = world.sent().pop().unwrap();
        assert_eq!(by_stream.via, Via::Stream);
        world.hear(&by_stream, answer(&by_stream, 0));
        // Datagrams that carry as much are answered.
        world.ask(&format!("n{n}.example"), 1);
        let sent = world.sent();
        assert_eq!(form(&sent[0]), "option");
        world.hear(&sent[0], answer(&sent[0], 0));
    }
}

#[test]
fn a_refusal_of_edns_is_remembered_where_tcp_confirms_it_and_not_where_it_is_forged() {
    for is_forged in [false, true] {
        let mut world = World::new(1);
        for n in 0..3 {
            world.ask(&format!("a{n}.example"), 1);
            let sent = world.sent();
            if n > 0 && !is_forged {
                assert_eq!(form(&sent[0]), "plain", "remembered");
                world.hear(&sent[0], answer(&sent[0], 0));
                continue;
            }
            assert_eq!(form(&sent[0]), "option");
            world.hear(&sent[0], answer(&sent[0], Rcode::FORMERR.0));
            let check = world.sent();
            assert_eq!((check[0].via, form(&check[0])), (Via::Stream, "option"));
            let said = if is_forged { 0 } else { Rcode::FORMERR.0 };
            world.hear(&check[0], answer(&check[0], said));
            if !is_forged {
                let again = world.sent();
                assert_eq!((again[0].via, form(&again[0])), (Via::Datagram, "plain"));
                world.hear(&again[0], answer(&again[0], 0));
            }
        }
        assert_eq!(world.resolved().len(), 3);
    }
    // Without TCP each question finds out by itself.
    let mut world = World::new(1);
    world.ask("a.example", 1);
    let sent = world.sent();
    world.hear(&sent[0], answer(&sent[0], Rcode::NOTIMP.0));
    let check = world.sent();
    world.fail(&check[0]);
    let again = world.sent();
    assert_eq!((again[0].via, form(&again[0])), (Via::Datagram, "plain"));
    world.hear(&again[0], answer(&again[0], 0));
    world.ask("b.example", 1);
    let sent = world.sent();
    assert_eq!(form(&sent[0]), "option");
    world.hear(&sent[0], answer(&sent[0], Rcode::NOTIMP.0));
    assert_eq!(form(&world.sent()[0]), "plain", "TCP is not asked again for a while");
}

#[test]
fn letter_case_is_drawn_where_it_is_repeated_and_clients_get_theirs() {
    let mut world = World::new(1);
    let name = "Some-Long.Name.example";
    let mut cases = std::collections::HashSet::new();
    for n in 0..40 {
        world.ask(&format!("{name}{n}"), n);
        let sent = world.sent();
        cases.insert(asked(&sent[0]).iter().map(u8::is_ascii_uppercase).take(22).collect::<Vec<_>>());
        // The owner is written in full, as some servers do.
        let mut bytes = answer(&sent[0], 0);
        bytes[7] = 1;
        let owner = &asked(&sent[0])[..asked(&sent[0]).len() - 4];
        bytes.extend_from_slice(owner);
        bytes.extend_from_slice(&[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        world.hear(&sent[0], bytes);
        let resolved = world.resolved();
        let message = &resolved[0].outcome.as_ref().unwrap().message.bytes;
        let wire = Name::parse(&format!("{name}{n}")).unwrap();
        assert!(message[HEADER_LEN..].starts_with(wire.as_wire()));
        assert_eq!(message.windows(wire.as_wire().len()).filter(|part| *part == wire.as_wire()).count(), 2);
    }
    assert!(cases.len() > 35, "{}", cases.len());
}

#[test]
fn letter_case_is_given_up_where_tcp_confirms_that_it_is_changed() {
    let lower = |transmit: &Transmit| {
        let mut bytes = answer(transmit, 0);
        let end = bytes.len() - 4;
        bytes[HEADER_LEN..end].make_ascii_lowercase();
        bytes
    };
    for tcp_changes_it in [false, true] {
        let mut world = World::new(1);
        world.ask("abcdefghijklmnop.example", 1);
        let sent = world.sent();
        assert_ne!(asked(&sent[0]).to_ascii_lowercase(), asked(&sent[0]), "a trial");
        world.hear(&sent[0], lower(&sent[0]));
        let by_stream = world.sent();
        let bytes = if tcp_changes_it { lower(&by_stream[0]) } else { answer(&by_stream[0], 0) };
        world.hear(&by_stream[0], bytes);
        assert_eq!(world.resolved().len(), 1);
        world.pass(6000);
        world.ask("abcdefghijklmnoq.example", 2);
        let sent = world.sent();
        let is_drawn = asked(&sent[0]).to_ascii_lowercase() != asked(&sent[0]);
        assert_eq!(is_drawn, !tcp_changes_it, "a forged datagram lowers nothing");
    }
    // Where TCP is not to be had, the next try is made in the client's case.
    let mut world = World::new(1);
    world.ask("abcdefghijklmnop.example", 1);
    let sent = world.sent();
    world.hear(&sent[0], lower(&sent[0]));
    let by_stream = world.sent();
    world.fail(&by_stream[0]);
    world.pass(400);
    let again = world.sent();
    assert_eq!(asked(&again[0]), question("abcdefghijklmnop.example"));
    world.hear(&again[0], lower(&again[0]));
    assert_eq!(world.resolved().len(), 1);
}

#[test]
fn azure_dns_is_asked_in_the_clients_case_until_it_repeats_one() {
    let azure = Target { address: super::super::AZURE_DNS, protocol: Protocol::Datagram };
    let mut world = World::new(1);
    let rule = |target: Target| ForwardRule {
        zone: Name::root(),
        upstreams: Box::new([target]),
        max_ttl: None,
        max_negative_ttl: None,
        upstream_set: 1,
    };
    world.rule = Arc::new(rule(azure));
    let answered = |world: &mut World, name: &str| {
        world.ask(name, 1);
        let sent = world.sent();
        world.hear(&sent[0], answer(&sent[0], 0));
        asked(&sent[0]) == question(name)
    };
    for n in 0..10 {
        assert!(answered(&mut world, &format!("abcdefghijklmnop{n}.example")));
    }
    assert!(answered(&mut world, "Abcdefghijklmnop.example"));
    assert!(!answered(&mut world, "abcdefghijklmnopq.example"), "it repeats the case of a question");
}

#[test]
fn a_damaged_datagram_does_not_end_its_try() {
    let mut world = World::new(1);
    world.ask("a.example", 1);
    let sent = world.sent();
    let mut damaged = answer(&sent[0], 0);
    damaged[7] = 1;
    for _ in 0..5 {
        assert_eq!(world.hear(&sent[0], damaged.clone()), AttemptState::Open);
    }
    let by_stream = world.sent();
    assert_eq!(by_stream.iter().map(|transmit| transmit.via).collect::<Vec<_>>(), [Via::Stream], "once");
    world.fail(&by_stream[0]);
    assert_eq!(world.hear(&sent[0], answer(&sent[0], 0)), AttemptState::Over);
    assert_eq!(outcomes(&world.resolved()), [(Ok(Rcode::NOERROR), vec![1])]);
}

fn tls_target() -> Target {
    Target { protocol: Protocol::Tls { server_name: "dns.example".into() }, ..target(1) }
}

/// A rule for all names; each with other upstreams has another number.
fn rule(upstreams: Box<[Target]>, upstream_set: u32) -> Arc<ForwardRule> {
    Arc::new(ForwardRule { zone: Name::root(), upstreams, max_ttl: None, max_negative_ttl: None, upstream_set })
}

#[test]
fn what_is_hopeless_fails_at_once_and_with_its_reason() {
    // There is more than fits a datagram, and TCP is refused.
    let mut world = World::new(1);
    world.ask("a.example", 1);
    let sent = world.sent();
    world.hear(&sent[0], answer(&sent[0], header::TC));
    let by_stream = world.sent();
    world.fail(&by_stream[0]);
    let resolved = world.resolved();
    assert_eq!(outcomes(&resolved), [(Err(Some(Failure::Unreachable)), vec![1])]);
    assert_eq!(resolved[0].detail.as_deref(), Some("10.0.1.1: connection refused"));
    // The only upstream's certificate is not accepted.
    let mut world = World::new(1);
    let tls = tls_target();
    world.rule = rule(Box::new([tls.clone()]), 1);
    world.ask("a.example", 1);
    let sent = world.sent();
    world.fail_by(&sent[0], TroubleKind::Certificate);
    assert_eq!(outcomes(&world.resolved()), [(Err(Some(Failure::Unreachable)), vec![1])]);
    // With another one the question goes on.
    world.rule = rule(Box::new([tls, target(2)]), 2);
    world.ask("b.example", 2);
    let sent = world.sent();
    world.fail_by(&sent[0], TroubleKind::Certificate);
    let other = world.sent();
    assert_eq!(other[0].to, target(2).address);
    world.hear(&other[0], answer(&other[0], 0));
    assert_eq!(outcomes(&world.resolved()), [(Ok(Rcode::NOERROR), vec![2])]);
}

#[test]
fn a_failure_that_was_answered_does_not_wait_for_lost_tries() {
    let mut world = with_known_times(1, 5);
    world.ask("a.example", 1);
    world.pass(60);
    let sent = world.sent();
    assert_eq!(sent.len(), 2);
    world.hear(&sent[1], answer(&sent[1], Rcode::SERVFAIL.0));
    assert_eq!(outcomes(&world.resolved()), [(Ok(Rcode::SERVFAIL), vec![1])], "the first try may be lost");
}

#[test]
fn a_stale_answer_is_better_than_a_failure() {
    for rcode in [Rcode::SERVFAIL, Rcode::REFUSED] {
        let mut world = World::new(1);
        world.ask_stale("a.example", 1, 5);
        let sent = world.sent();
        world.hear(&sent[0], answer(&sent[0], rcode.0));
        world.ask_stale("a.example", 2, 5);
        assert_eq!(outcomes(&world.resolved()), [(Err(None), vec![1, 2])], "fresh and remembered");
    }
    let mut world = World::new(1);
    world.ask_stale("a.example", 1, 5);
    let sent = world.sent();
    world.hear(&sent[0], answer(&sent[0], Rcode::NXDOMAIN.0));
    assert_eq!(outcomes(&world.resolved()), [(Ok(Rcode::NXDOMAIN), vec![1])], "NXDOMAIN is an answer");
}

#[test]
fn while_an_upstreams_certificate_is_not_accepted_questions_fail_at_once() {
    let mut world = World::new(1);
    world.rule = rule(Box::new([tls_target()]), 1);
    world.ask("before.example", 0);
    let sent = world.sent();
    world.hear(&sent[0], answer(&sent[0], 0));
    world.resolved();
    world.pass(1000);
    let mut asked = 0;
    // Ten a second for ten seconds: each fails at once, and five a second look whether it is accepted by now.
    let mut looks = 0;
    for _ in 0..100 {
        asked += 1;
        world.ask(&format!("n{asked}.example"), asked);
        for sent in world.sent() {
            looks += 1;
            world.fail_by(&sent, TroubleKind::Certificate);
        }
        let resolved = world.resolved();
        assert_eq!(outcomes(&resolved), [(Err(Some(Failure::Unreachable)), vec![asked])], "at once");
        assert_eq!(resolved[0].detail.as_deref(), Some("tls://10.0.1.1:53#dns.example: connection refused"));
        world.pass(100);
    }
    assert!((45..=60).contains(&looks), "{looks}");
    // Another certificate.
    world.pass(200);
    world.ask("after.example", 1000);
    let sent = world.sent();
    world.hear(&sent[0], answer(&sent[0], 0));
    world.ask("and.after.example", 1001);
    assert_eq!(world.sent().len(), 1);
}
