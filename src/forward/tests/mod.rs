//! The state machine with a simulated clock: hours in milliseconds.

mod lines;
mod loops;
mod pacing;
mod places;
mod schedule;
mod tcp;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{
    Answered, Arrival, AttemptState, CLIENT_TIMEOUT, ClientQuery, Delivery, Failure, ForwardRule, Forwarding, Limits,
    LoopGuard, Outbox, Protocol, Question, Resolved, Stale, Target, Transmit, Trouble, TroubleKind, Turn, Via,
};
use crate::wire::header::{self, HEADER_LEN, Header};
use crate::wire::{Message, Name, Rcode, Rtype, UpstreamMessage};

/// The machine, its clock, and what it has said so far.
struct World {
    machine: Forwarding<u32>,
    now: Instant,
    out: Outbox<u32>,
    rule: Arc<ForwardRule>,
}

impl World {
    fn new(upstreams: u8) -> Self {
        Self::with_limits(upstreams, Limits::default())
    }

    fn with_limits(upstreams: u8, limits: Limits) -> Self {
        let targets: Vec<Target> = (1..=upstreams).map(target).collect();
        let mut machine = Forwarding::new([7; 32], LoopGuard::default());
        machine.set_limits(targets.iter().map(|target| (target.address, limits)).collect());
        let rule = Arc::new(ForwardRule {
            zone: Name::root(),
            upstreams: targets.into(),
            max_ttl: None,
            max_negative_ttl: None,
            upstream_set: 0,
        });
        #[expect(clippy::disallowed_methods, reason = "a start for the simulated clock")]
        let now = Instant::now();
        Self { machine, now, out: Outbox::default(), rule }
    }

    fn ask(&mut self, name: &str, waiter: u32) {
        self.ask_from(name, waiter, [10, 0, 0, 1].into());
    }

    fn ask_from(&mut self, name: &str, waiter: u32, client: IpAddr) {
        self.ask_with(name, waiter, client, None);
    }

    /// Asks with an answer at hand that expired `ago` seconds ago, private ones a minute's worth.
    fn ask_stale(&mut self, name: &str, waiter: u32, ago: u64) {
        let expired = self.now - Duration::from_secs(ago);
        let stale = Stale {
            until: expired + Duration::from_secs(60),
            until_down: expired + Duration::from_secs(86_400),
            len: 60,
        };
        self.ask_with(name, waiter, [10, 0, 0, 1].into(), Some(stale));
    }

    fn ask_with(&mut self, name: &str, waiter: u32, client: IpAddr, stale: Option<Stale>) {
        let bytes = question(name);
        let question = Box::new(Question {
            key: bytes.clone().into(),
            section: bytes.into(),
            dnssec_ok: false,
            checking_disabled: false,
            tokens: Vec::new(),
            rule: self.rule.clone(),
            alike: Vec::new(),
        });
        let client_query =
            ClientQuery { waiter, client, deadline: self.now + CLIENT_TIMEOUT, stale, is_datagram: true, beside: 0 };
        self.machine.ask(self.now, question, client_query, &mut self.out);
    }

    /// Moves the clock, doing what is due on the way.
    fn pass(&mut self, milliseconds: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        while let Some(next) = self.machine.next_timeout(self.now).filter(|&next| next <= end) {
            self.now = next.max(self.now);
            self.machine.handle_timeout(self.now, &mut self.out);
        }
        self.now = end;
    }

    fn sent(&mut self) -> Vec<Transmit> {
        std::mem::take(&mut self.out.transmits)
    }

    fn resolved(&mut self) -> Vec<Resolved<u32>> {
        std::mem::take(&mut self.out.resolved)
    }

    fn hear(&mut self, transmit: &Transmit, bytes: Vec<u8>) -> AttemptState {
        self.machine.on_response(
            self.now,
            transmit.id,
            Arrival::Message(Box::new(UpstreamMessage::read(bytes))),
            &mut self.out,
        )
    }

    fn fail(&mut self, transmit: &Transmit) {
        self.fail_by(transmit, TroubleKind::Refused);
    }

    fn fail_by(&mut self, transmit: &Transmit, kind: TroubleKind) {
        let trouble = Trouble { text: "connection refused".into(), kind };
        self.machine.failed(self.now, transmit.id, &trouble, &mut self.out);
    }
}

fn target(number: u8) -> Target {
    Target { address: SocketAddr::from(([10, 0, 1, number], 53)), protocol: Protocol::Datagram }
}

fn question(name: &str) -> Vec<u8> {
    let mut question = Name::parse(name).unwrap().as_wire().to_vec();
    question.extend_from_slice(&[0, 1, 0, 1]);
    question
}

/// An answer to a query that was sent.
fn answer(transmit: &Transmit, flags: u16) -> Vec<u8> {
    let mut bytes = transmit.message.to_vec();
    let asked = Header::read(&bytes).unwrap();
    let head = Header { flags: header::QR | header::RD | header::RA | flags, arcount: 0, ..asked };
    bytes[..HEADER_LEN].copy_from_slice(&head.to_bytes());
    let question_end = Message::parse(&transmit.message).unwrap().question_end;
    bytes.truncate(question_end);
    bytes
}

/// The same with a record more, so that it has so many bytes.
fn lengthened(transmit: &Transmit, len: usize) -> Vec<u8> {
    let mut bytes = answer(transmit, 0);
    if len > bytes.len() {
        bytes[11] += 1;
        let data_len = (len - bytes.len()).checked_sub(11).unwrap() as u16;
        bytes.extend_from_slice(&[0, 0, 16, 0, 1, 0, 0, 0, 0]);
        bytes.extend_from_slice(&data_len.to_be_bytes());
        bytes.resize(len, 0);
    }
    bytes
}

type Outcome = Result<Rcode, Option<Failure>>;

/// Outcomes with those whom they concern: who takes a stale answer is shown as `Err(None)`.
fn outcomes(resolved: &[Resolved<u32>]) -> Vec<(Outcome, Vec<u32>)> {
    let rcode = |answered: &Answered| Header::read(&answered.message.bytes).unwrap().rcode();
    let mut shown = Vec::new();
    for resolved in resolved {
        for released in &resolved.waiters {
            let outcome = resolved.outcome.as_ref().map(rcode).map_err(|failure| Some(*failure));
            let outcome = if released.use_stale { Err(None) } else { outcome };
            match shown.last_mut() {
                Some((last, waiters)) if *last == outcome => Vec::push(waiters, released.waiter),
                _ => shown.push((outcome, vec![released.waiter])),
            }
        }
    }
    shown
}

fn limits(queries_per_second: u32, pending: u32) -> Limits {
    Limits { queries_per_second, pending, ..Limits::default() }
}

#[test]
fn identical_questions_are_asked_once() {
    let mut world = World::new(1);
    for waiter in 0..1000 {
        world.ask("a.example", waiter);
    }
    let sent = world.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(world.hear(&sent[0], answer(&sent[0], 0)), AttemptState::Over);
    let resolved = world.resolved();
    assert_eq!(resolved.len(), 1);
    assert_eq!(outcomes(&resolved), [(Ok(Rcode::NOERROR), (0..1000).collect())]);
    assert!(world.machine.is_empty());
}

#[test]
fn a_waiter_that_has_waited_elsewhere_before_leaves_at_its_own_deadline() {
    let mut world = World::new(1);
    world.ask("a.example", 1);
    // Through a chain, with 2 s left.
    let bytes = question("a.example");
    let question = Box::new(Question {
        key: bytes.clone().into(),
        section: bytes.into(),
        dnssec_ok: false,
        checking_disabled: false,
        tokens: Vec::new(),
        rule: world.rule.clone(),
        alike: Vec::new(),
    });
    let deadline = world.now + Duration::from_secs(2);
    let client_query =
        ClientQuery { waiter: 2, client: [10, 0, 0, 2].into(), deadline, stale: None, is_datagram: true, beside: 0 };
    world.machine.ask(world.now, question, client_query, &mut world.out);
    world.ask("a.example", 3);
    world.pass(1999);
    assert!(world.resolved().is_empty());
    world.pass(1);
    assert_eq!(outcomes(&world.resolved()), [(Err(Some(Failure::Silence)), vec![2])]);
    let sent = world.sent();
    world.hear(&sent[0], answer(&sent[0], 0));
    assert_eq!(outcomes(&world.resolved()), [(Ok(Rcode::NOERROR), vec![1, 3])]);
}

#[test]
fn an_answer_to_the_first_try_counts_after_the_second_was_sent() {
    let mut world = World::new(1);
    world.ask("slow.example", 1);
    let first = world.sent();
    world.pass(4000);
    assert_eq!(world.sent().len(), 4);
    world.hear(&first[0], answer(&first[0], 0));
    assert_eq!(outcomes(&world.resolved()), [(Ok(Rcode::NOERROR), vec![1])]);
}

#[test]
fn the_next_of_several_is_asked_soon() {
    let mut world = World::new(2);
    world.ask("a.example", 1);
    assert_eq!(world.sent()[0].to, target(1).address);
    world.pass(399);
    assert!(world.sent().is_empty());
    world.pass(1);
    let second = world.sent();
    assert_eq!(second[0].to, target(2).address);
    world.hear(&second[0], answer(&second[0], 0));
    assert_eq!(world.resolved().len(), 1);
}

#[test]
fn a_dead_upstream_is_passed_over_and_comes_back() {
    let mut world = World::new(2);
    for n in 0..3 {
        world.ask(&format!("a{n}.example"), n);
        world.pass(400);
        let sent = world.sent();
        let second = sent.last().unwrap();
        world.hear(second, answer(second, 0));
    }
    let asked = |world: &mut World, name: &str| {
        world.ask(name, 10);
        let sent = world.sent();
        let first = &sent[0];
        world.hear(first, answer(first, 0));
        sent
    };
    let whom = |sent: &[Transmit]| sent.iter().map(|transmit| transmit.to).collect::<Vec<_>>();
    let (one, two) = (target(1).address, target(2).address);
    assert_eq!(whom(&asked(&mut world, "b.example")), [two, one], "the first is taken for down, and tried as well");
    assert_eq!(whom(&asked(&mut world, "c.example")), [two], "not with every query");
    world.pass(200);
    let probed = asked(&mut world, "d.example");
    assert_eq!(whom(&probed), [two, one]);
    world.hear(&probed[1], answer(&probed[1], 0));
    assert_eq!(
        whom(&asked(&mut world, "e.example")),
        [one],
        "its first answer brings it back, also when it comes second"
    );
}

#[test]
fn failures_go_on_to_the_next_and_are_passed_on_when_all_fail() {
    let mut world = World::new(2);
    world.ask("a.example", 1);
    let first = world.sent();
    world.hear(&first[0], answer(&first[0], Rcode::REFUSED.0));
    let second = world.sent();
    assert_eq!(second[0].to, target(2).address, "at once");
    world.hear(&second[0], answer(&second[0], Rcode::SERVFAIL.0));
    assert_eq!(outcomes(&world.resolved()), [(Ok(Rcode::SERVFAIL), vec![1])]);
    let mut alone = World::new(1);
    alone.ask("a.example", 1);
    let sent = alone.sent();
    alone.hear(&sent[0], answer(&sent[0], Rcode::REFUSED.0));
    assert_eq!(outcomes(&alone.resolved()), [(Ok(Rcode::REFUSED), vec![1])]);
}

#[test]
fn an_upstream_without_edns_is_asked_without() {
    let mut world = World::new(1);
    world.ask("a.example", 1);
    let sent = world.sent();
    let has_opt = |t: &Transmit| Message::parse(&t.message).unwrap().records.iter().any(|r| r.rtype == Rtype::OPT);
    assert!(has_opt(&sent[0]));
    world.hear(&sent[0], answer(&sent[0], Rcode::FORMERR.0));
    // A datagram may be forged: TCP confirms it.
    let by_stream = world.sent();
    assert!(by_stream[0].via == Via::Stream && has_opt(&by_stream[0]));
    world.hear(&by_stream[0], answer(&by_stream[0], Rcode::FORMERR.0));
    let again = world.sent();
    assert!(again[0].via == Via::Datagram && !has_opt(&again[0]));
    world.hear(&again[0], answer(&again[0], Rcode::FORMERR.0));
    assert_eq!(outcomes(&world.resolved()), [(Ok(Rcode::FORMERR), vec![1])]);
}

#[test]
fn a_closed_port_is_tried_again_in_its_time() {
    let mut world = World::new(1);
    world.ask("a.example", 1);
    for pause in [400, 800, 1000, 1000, 1000, 300] {
        let sent = world.sent();
        assert_eq!(sent.len(), 1);
        world.fail(&sent[0]);
        assert!(world.sent().is_empty(), "not at once");
        world.pass(pause);
    }
    assert_eq!(outcomes(&world.resolved()), [(Err(Some(Failure::Unreachable)), vec![1])]);
}

#[test]
fn a_silent_upstream_by_stream_is_passed_over_too() {
    let mut world = World::new(2);
    let by_stream = Target { protocol: Protocol::Tcp, ..target(1) };
    let rule = ForwardRule {
        zone: Name::root(),
        upstreams: Box::new([by_stream, target(2)]),
        max_ttl: None,
        max_negative_ttl: None,
        upstream_set: 1,
    };
    world.rule = Arc::new(rule);
    for n in 0..3 {
        world.ask(&format!("a{n}.example"), n);
        world.pass(400);
        let sent = world.sent();
        assert_eq!(sent.iter().map(|transmit| transmit.via).collect::<Vec<_>>(), [Via::Stream, Via::Datagram]);
        world.hear(&sent[1], answer(&sent[1], 0));
    }
    world.ask("b.example", 10);
    assert_eq!(world.sent()[0].to, target(2).address);
}
