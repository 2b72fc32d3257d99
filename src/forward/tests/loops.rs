//! Questions that come back from a forwarder that drops our token.

use super::*;

/// The upstream's own address.
fn upstream() -> IpAddr {
    target(1).address.ip()
}

/// The question section of a query that was sent, in its case.
fn section(transmit: &Transmit) -> Vec<u8> {
    let end = Message::parse(&transmit.message).unwrap().question_end;
    transmit.message[HEADER_LEN..end].to_vec()
}

fn ask(world: &mut World, section: &[u8], dnssec_ok: bool, waiter: u32, client: IpAddr) {
    ask_with(world, section, dnssec_ok, waiter, client, None);
}

/// Asks for the name in a section; DO makes another key of it.
fn ask_with(world: &mut World, section: &[u8], dnssec_ok: bool, waiter: u32, client: IpAddr, stale: Option<Stale>) {
    let key = |dnssec_ok: bool| {
        let mut key = section.to_ascii_lowercase();
        key.push(u8::from(dnssec_ok));
        key
    };
    let is_upstream = world.rule.upstreams.iter().any(|upstream| upstream.address.ip() == client);
    let question = Box::new(Question {
        key: key(dnssec_ok).into(),
        section: section.to_vec().into(),
        dnssec_ok,
        checking_disabled: false,
        tokens: Vec::new(),
        rule: world.rule.clone(),
        alike: if is_upstream { vec![key(!dnssec_ok).into()] } else { Vec::new() },
    });
    let deadline = world.now + Duration::from_millis(4500);
    world.machine.ask(
        world.now,
        question,
        ClientQuery { waiter, client, deadline, stale, is_datagram: true, beside: 0 },
        &mut world.out,
    );
}

/// Who was refused because of a loop.
fn refused(world: &mut World) -> Vec<u32> {
    let resolved = world.resolved();
    let refused = outcomes(&resolved).into_iter().filter(|(outcome, _)| *outcome == Err(Some(Failure::Loop)));
    refused.flat_map(|(_, waiters)| waiters).collect()
}

const NAME: &str = "service.example";
const CLIENT: [u8; 4] = [10, 0, 0, 1];

#[test]
fn a_question_that_comes_back_in_the_case_drawn_for_its_upstream_is_refused_at_once() {
    for dnssec_ok in [false, true] {
        let mut world = World::new(1);
        ask(&mut world, &question(NAME), false, 1, CLIENT.into());
        let sent = world.sent();
        assert_ne!(section(&sent[0]), question(NAME), "its case is drawn");
        let until = world.now + Duration::from_secs(60);
        let stale = Stale { until, until_down: until, len: 0 };
        ask_with(&mut world, &section(&sent[0]), dnssec_ok, 2, upstream(), Some(stale));
        assert_eq!(refused(&mut world), [2], "not even a stale answer");
        assert_eq!(world.sent().len(), 0, "and not asked again");
        assert_eq!(world.machine.len(), 1);
        // The upstream has failed by that, and the client is told.
        world.hear(&sent[0], answer(&sent[0], 2));
        assert_eq!(outcomes(&world.resolved()), [(Ok(Rcode::SERVFAIL), vec![1])]);
    }
}

#[test]
fn the_same_case_from_elsewhere_is_no_loop() {
    let mut world = World::new(1);
    ask(&mut world, &question(NAME), false, 1, CLIENT.into());
    let sent = world.sent();
    ask(&mut world, &section(&sent[0]), false, 2, [10, 0, 0, 2].into());
    world.hear(&sent[0], answer(&sent[0], 0));
    assert_eq!(outcomes(&world.resolved()), [(Ok(Rcode::NOERROR), vec![1, 2])]);
}

#[test]
fn the_upstreams_own_machine_may_ask_for_its_own_names() {
    let mut world = World::new(1);
    // First of all, and while others wait; as often as it likes while the upstream answers in time.
    ask(&mut world, &question(NAME), false, 1, upstream());
    for waiter in 2..10 {
        ask(&mut world, &question(NAME), false, waiter, upstream());
    }
    let sent = world.sent();
    assert_eq!(sent.len(), 1);
    world.hear(&sent[0], answer(&sent[0], 0));
    assert_eq!(outcomes(&world.resolved()), [(Ok(Rcode::NOERROR), (1..10).collect())]);
    // While the upstream is late, once.
    ask(&mut world, &question(NAME), false, 1, CLIENT.into());
    world.pass(1000);
    ask(&mut world, &question(NAME), true, 2, upstream());
    ask(&mut world, &question(NAME), false, 3, upstream());
    for transmit in world.sent() {
        world.hear(&transmit, answer(&transmit, 0));
    }
    let resolved = world.resolved();
    let answered = outcomes(&resolved).into_iter().filter(|(outcome, _)| *outcome == Ok(Rcode::NOERROR));
    assert_eq!(answered.map(|(_, waiters)| waiters.len()).sum::<usize>(), 3, "{resolved:?}");
}

#[test]
fn a_question_that_comes_back_after_a_second_attempt_is_refused_whatever_its_case() {
    for dnssec_ok in [false, true] {
        let mut world = World::new(1);
        ask(&mut world, &question(NAME), false, 1, CLIENT.into());
        world.pass(1);
        ask(&mut world, &question(NAME), dnssec_ok, 2, upstream());
        ask(&mut world, &question(NAME), dnssec_ok, 3, upstream());
        assert_eq!(refused(&mut world), [0; 0]);
        world.pass(500);
        ask(&mut world, &question(NAME), dnssec_ok, 4, upstream());
        assert_eq!(refused(&mut world), [4]);
    }
}

#[test]
fn clients_on_the_machine_of_a_local_upstream_are_not_refused_for_their_address() {
    let mut world = World::new(1);
    let local = Target { address: SocketAddr::from(([127, 0, 0, 1], 5353)), protocol: Protocol::Datagram };
    let (zone, max_ttl, max_negative_ttl) = (Name::root(), None, None);
    world.rule =
        Arc::new(ForwardRule { zone, upstreams: vec![local].into(), max_ttl, max_negative_ttl, upstream_set: 0 });
    for waiter in 0..20 {
        ask(&mut world, &question(NAME), false, waiter, [127, 0, 0, 1].into());
        world.pass(100);
        assert_eq!(refused(&mut world), [0; 0]);
    }
    let sent = world.sent();
    let drawn = sent.iter().find(|transmit| transmit.via == Via::Datagram && section(transmit) != question(NAME));
    ask(&mut world, &section(drawn.unwrap()), false, 20, [127, 0, 0, 1].into());
    assert_eq!(refused(&mut world), [20], "a loop is one even there");
}

#[test]
fn the_case_of_short_names_says_nothing() {
    let mut world = World::new(1);
    ask(&mut world, &question("ab.de"), false, 1, CLIENT.into());
    let sent = world.sent();
    ask(&mut world, &section(&sent[0]), false, 2, upstream());
    world.hear(&sent[0], answer(&sent[0], 0));
    assert_eq!(outcomes(&world.resolved()), [(Ok(Rcode::NOERROR), vec![1, 2])]);
}

#[test]
fn the_case_is_drawn_for_an_upstream_from_whose_address_the_question_came() {
    let mut world = World::new(1);
    // The trial of the case is used up.
    ask(&mut world, &question("other.example"), false, 1, CLIENT.into());
    ask(&mut world, &question(NAME), false, 2, CLIENT.into());
    let sent = world.sent();
    assert_eq!(section(&sent[1]), question(NAME), "not known whether it repeats the case");
    ask(&mut world, &question(NAME), false, 3, upstream());
    world.pass(400);
    let repeat = world.sent().into_iter().find(|transmit| section(transmit).eq_ignore_ascii_case(&question(NAME)));
    assert_ne!(section(&repeat.unwrap()), question(NAME));
}

#[test]
fn a_name_without_letters_is_no_trial_of_the_case() {
    let mut world = World::new(1);
    for name in [".", "1.2.3", NAME] {
        ask(&mut world, &question(name), false, 1, CLIENT.into());
    }
    let sent = world.sent();
    assert_ne!(section(&sent[2]), question(NAME));
}

#[test]
fn a_failure_tells_that_the_case_is_repeated() {
    let mut world = World::new(1);
    for name in ["first.example", "second.example"] {
        ask(&mut world, &question(name), false, 1, CLIENT.into());
        let sent = world.sent();
        assert_ne!(section(&sent[0]), question(name));
        world.hear(&sent[0], answer(&sent[0], 2));
    }
}
