//! `ports = "pool"`: reused ports, drawn at random, with the same care for what comes back.

use crate::common::{Answer, FakeAzureDns, Play, Pldns, Query, Script, Transport};
use crate::spoofing::a_flood_of_wrong_ids;
use std::collections::HashSet;
use std::thread;
use std::time::Duration;

const QUESTION: &str = "a.example A";
const TRUTH: &str = "a.example 60 IN A 192.0.2.1";

fn pooled(fake: &FakeAzureDns) -> String {
    format!("{}\n[[upstream]]\naddress = \"{}\"\nports = \"pool\"\n", fake.rule("."), fake.address())
}

#[test]
fn ports_are_many_and_used_again_and_say_nothing_of_the_client() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&pooled(&fake), "");
    let (clients, each) = (4, 500);
    thread::scope(|scope| {
        for client in 0..clients {
            let address = server.address();
            scope.spawn(move || {
                for n in 0..each {
                    let query =
                        Query::new(&format!("n{n}.c{client}.example A")).from(&format!("127.0.0.{}", client + 2));
                    query.ask_at(address).rcode("NXDOMAIN");
                }
            });
        }
    });
    let mut all = Vec::new();
    let mut of_clients = Vec::new();
    for client in 0..clients {
        let seen: Vec<_> = (0..each).map(|n| fake.seen(&format!("n{n}.c{client}.example A")).remove(0)).collect();
        let ports: Vec<u16> = seen.iter().map(|one| one.source.port()).collect();
        let ids: HashSet<u16> = seen.iter().map(|one| one.id()).collect();
        assert!(ids.len() > each * 9 / 10, "{} of {each} IDs differ", ids.len());
        of_clients.push(ports.iter().copied().collect::<HashSet<u16>>());
        all.extend(ports);
    }
    let distinct: HashSet<u16> = all.iter().copied().collect();
    assert!(distinct.len() >= 256, "{} ports", distinct.len());
    assert!(distinct.len() < all.len() / 2, "{} ports for {} queries: none is used again", distinct.len(), all.len());
    for ports in &of_clients {
        assert!(ports.len() >= 200, "one client's queries leave from {} ports only", ports.len());
        let shared = ports.iter().filter(|port| of_clients.iter().all(|other| other.contains(port))).count();
        assert!(shared > ports.len() / 8, "{shared} of {} ports serve all clients", ports.len());
    }
}

#[test]
fn the_first_wrong_id_makes_tcp_decide() {
    let fake = FakeAzureDns::start();
    let lie = || Answer::of(&["a.example 60 IN A 203.0.113.66"]);
    let udp = Play::of(lie().wrong_id()).then(20, lie());
    fake.on(QUESTION, Script::udp([udp]).tcp([Play::of(Answer::of(&[TRUTH]))]));
    let server = Pldns::start(&pooled(&fake), "");
    server.ask(QUESTION).answers(&[TRUTH]).before_deadline();
    let transports: Vec<_> = fake.seen(QUESTION).iter().map(|seen| seen.transport).collect();
    assert_eq!(transports, [Transport::Udp, Transport::Tcp], "TCP is asked next, not UDP again");
}

#[test]
fn what_does_not_match_does_not_end_the_wait() {
    let fake = FakeAzureDns::start();
    let lie = Answer::of(&["a.example 60 IN A 203.0.113.66"]).wrong_question();
    let play = Play::of(lie).then_from_elsewhere(5, Answer::of(&["a.example 60 IN A 203.0.113.66"]));
    fake.on(QUESTION, Script::udp([play.then(50, Answer::of(&[TRUTH]))]));
    let server = Pldns::start(&pooled(&fake), "");
    server.ask(QUESTION).answers(&[TRUTH]).before_deadline();
}

#[test]
fn a_lost_query_is_asked_again_and_a_dead_upstream_said() {
    let fake = FakeAzureDns::start();
    fake.on(QUESTION, Script::udp([Play::silence(), Play::of(Answer::of(&[TRUTH]))]));
    let server = Pldns::start(&pooled(&fake), "");
    server.ask(QUESTION).answers(&[TRUTH]).not_before(Duration::from_millis(350)).before_deadline();
    let rules = pooled(&fake);
    drop(fake);
    // Its port is closed now: the kernel says so at once.
    let server = Pldns::start(&rules, "");
    server.ask("b.example A").rcode("SERVFAIL").some_ede();
}

#[test]
fn a_flood_of_wrong_ids_changes_nothing_but_the_transport() {
    a_flood_of_wrong_ids(pooled);
}
