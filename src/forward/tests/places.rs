//! How many queries may wait.

use super::*;
use crate::forward::ForwardBounds;

#[test]
fn waiters_are_limited() {
    end_of_those_who_wait(ForwardBounds::MOST);
    // Where memory is short, it comes sooner.
    end_of_those_who_wait(ForwardBounds { questions: 3000, waiting: 8000 });
}

fn end_of_those_who_wait(bounds: ForwardBounds) {
    let most = bounds.waiting;
    #[expect(clippy::disallowed_methods, reason = "a start for the simulated clock")]
    let now = Instant::now();
    let target = Target { address: SocketAddr::from(([10, 0, 0, 1], 53)), protocol: Protocol::Datagram };
    let rule = Arc::new(ForwardRule {
        zone: Name::root(),
        upstreams: Box::new([target]),
        max_ttl: None,
        max_negative_ttl: None,
        upstream_set: 0,
    });
    let mut machine = Forwarding::new([7; 32], LoopGuard::default());
    machine.set_bounds(bounds);
    let mut out = Outbox::default();
    let deadline = now + Duration::from_millis(4500);
    let mut ask = |machine: &mut Forwarding<usize>, number: usize| {
        // A thousand clients each for every question, every client with many questions.
        let bytes = [&[3][..], format!("{:03}", number / 1000).as_bytes(), &[0, 0, 1, 0, 1]].concat();
        let question = Box::new(Question {
            key: bytes.clone().into(),
            section: bytes.into(),
            dnssec_ok: false,
            checking_disabled: false,
            tokens: Vec::new(),
            rule: rule.clone(),
            alike: Vec::new(),
        });
        let client = IpAddr::from([10, 1, (number % 1000 / 250) as u8, (number % 250) as u8]);
        machine.ask(
            now,
            question,
            ClientQuery { waiter: number, client, deadline, stale: None, is_datagram: true, beside: 0 },
            &mut out,
        );
        std::mem::take(&mut out.resolved)
    };
    for number in 0..most {
        assert!(ask(&mut machine, number).is_empty(), "{number}");
    }
    let turned_away = ask(&mut machine, most);
    assert_eq!(turned_away.len(), 1);
    assert_eq!(turned_away[0].outcome.as_ref().err(), Some(&Failure::Overload));
    assert_eq!((machine.clients().waiting(), machine.clients().tickets()), (most, most));
    let mut last = Outbox::default();
    machine.handle_timeout(deadline, &mut last);
    let released: usize = last.resolved.iter().map(|resolved| resolved.waiters.len()).sum();
    assert_eq!((released, machine.clients().waiting(), machine.has_waiters()), (most, 0, false));
}
