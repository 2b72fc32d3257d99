//! When TCP decides: guesses, cut answers, fragments.

use super::*;

#[test]
fn a_guess_makes_tcp_decide() {
    let mut world = World::new(1);
    world.ask("A.example", 1);
    let sent = world.sent();
    for n in 0..100u16 {
        let mut guess = answer(&sent[0], 0);
        let wrong = Header::read(&guess).unwrap().id.wrapping_add(1 + n);
        guess[..2].copy_from_slice(&wrong.to_be_bytes());
        assert_eq!(world.hear(&sent[0], guess), AttemptState::Open);
    }
    let by_stream = world.sent();
    assert_eq!(by_stream.iter().map(|t| t.via).collect::<Vec<_>>(), [Via::Stream], "once");
    assert_eq!(world.hear(&sent[0], answer(&sent[0], 0)), AttemptState::Over);
    assert!(world.resolved().is_empty(), "the datagram is held back");
    let mut by_tcp = answer(&by_stream[0], Rcode::NXDOMAIN.0);
    by_tcp[13] ^= 0x20; // case is forgiven by TCP
    world.hear(&by_stream[0], by_tcp);
    assert_eq!(outcomes(&world.resolved()), [(Ok(Rcode::NXDOMAIN), vec![1])]);
}

#[test]
fn a_datagram_after_a_guess_serves_where_tcp_does_not() {
    let mut world = World::new(1);
    world.ask("A.example", 1);
    let sent = world.sent();
    let mut lower_case = answer(&sent[0], 0);
    lower_case[13] ^= 0x20;
    assert_eq!(world.hear(&sent[0], lower_case), AttemptState::Open);
    let by_stream = world.sent();
    world.hear(&sent[0], answer(&sent[0], 0));
    world.fail(&by_stream[0]);
    assert_eq!(outcomes(&world.resolved()), [(Ok(Rcode::NOERROR), vec![1])]);
}

#[test]
fn what_is_no_answer_never_ends_the_wait() {
    let mut world = World::new(1);
    world.ask("a.example", 1);
    let sent = world.sent();
    let good = answer(&sent[0], 0);
    let mut other_question = good.clone();
    other_question[13] = b'b';
    let mut a_query = good.clone();
    a_query[2] &= 0x7f;
    for bad in [vec![], vec![0; 3], good[..11].to_vec(), other_question, a_query] {
        assert_eq!(world.hear(&sent[0], bad), AttemptState::Open);
    }
    assert!(world.sent().is_empty());
    world.hear(&sent[0], good);
    assert_eq!(world.resolved().len(), 1);
}

#[test]
fn cut_answers_are_asked_for_by_tcp() {
    for cut_how in ["tc", "silently"] {
        let mut world = World::new(1);
        world.ask("a.example", 1);
        let sent = world.sent();
        let mut cut = answer(&sent[0], if cut_how == "tc" { header::TC } else { 0 });
        cut[7] = 1; // an answer record is promised, and the message ends here
        world.hear(&sent[0], cut);
        let by_stream = world.sent();
        assert_eq!((by_stream.len(), by_stream[0].via), (1, Via::Stream), "{cut_how}");
        world.hear(&by_stream[0], answer(&by_stream[0], 0));
        assert_eq!(world.resolved().len(), 1);
    }
}

#[test]
fn a_datagram_in_fragments_or_longer_than_advertised_is_asked_for_by_tcp() {
    for (len, damaged, by_stream) in [(1232, false, 0), (1233, false, 1), (100, true, 1)] {
        let mut world = World::new(1);
        world.ask("a.example", 1);
        let sent = world.sent();
        let bytes = lengthened(&sent[0], len);
        let arrival =
            if damaged { Arrival::Damaged(bytes) } else { Arrival::Message(Box::new(UpstreamMessage::read(bytes))) };
        world.machine.on_response(world.now, sent[0].id, arrival, &mut world.out);
        let vias: Vec<_> = world.sent().iter().map(|transmit| transmit.via).collect();
        assert_eq!(vias, vec![Via::Stream; by_stream], "{len} bytes");
        assert_eq!(world.resolved().len(), 1 - by_stream);
    }
    // What does not match is no sign of anything, in fragments or not.
    let mut world = World::new(1);
    world.ask("a.example", 1);
    let sent = world.sent();
    let mut other = answer(&sent[0], 0);
    other[13] = b'b';
    assert_eq!(
        world.machine.on_response(world.now, sent[0].id, Arrival::Damaged(other), &mut world.out),
        AttemptState::Open
    );
    assert!(world.sent().is_empty());
}

/// An upstream that refers to TCP by each datagram and closes each connection: how often TCP is asked for one query, with how
/// many connections at most, and when the query ends.
fn asked_of_one_that_closes(datagram: impl Fn(&Transmit) -> Vec<u8>) -> (usize, usize, u64) {
    let mut world = World::new(1);
    world.ask("a.example", 1);
    let (mut streams, mut connections) = (0, 0);
    for millisecond in 0..=4500 {
        let mut sent = world.sent();
        while !sent.is_empty() {
            for transmit in sent {
                match transmit.via {
                    Via::Datagram => drop(world.hear(&transmit, datagram(&transmit))),
                    Via::Stream => {
                        streams += 1;
                        connections += 1 + usize::from(transmit.losses_max);
                        world.fail_by(&transmit, TroubleKind::Other);
                    }
                }
            }
            sent = world.sent();
        }
        let resolved = outcomes(&world.resolved());
        if !resolved.is_empty() {
            assert!(resolved[0].0.is_err(), "{resolved:?}");
            return (streams, connections, millisecond);
        }
        world.pass(1);
    }
    panic!("no end");
}

#[test]
fn an_upstream_that_refers_to_tcp_and_closes_it_is_asked_twice_by_tcp() {
    let longer_than_advertised = |transmit: &Transmit| lengthened(transmit, 1233);
    // Datagrams go on, for the one that was damaged may be followed by the right one.
    let (streams, connections, _) = asked_of_one_that_closes(longer_than_advertised);
    assert_eq!((streams, connections), (2, 5));
    // It says itself that there is no answer but by TCP.
    let (streams, connections, ends) = asked_of_one_that_closes(|transmit| answer(transmit, header::TC));
    assert_eq!((streams, connections), (2, 5));
    assert!(ends < 2000, "after {ends} ms");
}

#[test]
fn a_mark_of_a_wrong_id_makes_tcp_decide_once() {
    let mut world = World::new(1);
    world.ask("a.example", 1);
    let sent = world.sent();
    for _ in 0..3 {
        assert_eq!(
            world.machine.on_response(world.now, sent[0].id, Arrival::WrongId, &mut world.out),
            AttemptState::Open
        );
    }
    let by_stream = world.sent();
    assert_eq!(by_stream.iter().map(|transmit| transmit.via).collect::<Vec<_>>(), [Via::Stream]);
    world.hear(&sent[0], answer(&sent[0], 0));
    assert!(world.resolved().is_empty(), "TCP decides");
    world.hear(&by_stream[0], answer(&by_stream[0], 0));
    assert_eq!(world.resolved().len(), 1);
    assert_eq!(world.machine.on_response(world.now, sent[0].id, Arrival::WrongId, &mut world.out), AttemptState::Over);
}
