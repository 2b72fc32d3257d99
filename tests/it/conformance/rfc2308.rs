use crate::common::cast::{API, RECORDS, zone};
use crate::common::{Answer, FakeAzureDns, Pldns, Query};
use std::thread;
use std::time::Duration;

#[test]
fn s_2_1_nxdomain_carries_the_zones_soa() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&(zone("corp.example", "nxdomain") + &fake.rule(".")), "");
    server.ask("none.corp.example A").nxdomain("corp.example");
    Query::new("none.corp.example A").no_edns().ask_at(server.address()).nxdomain("corp.example");
}

#[test]
fn s_2_2_nodata_carries_an_soa_and_no_referral() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let got = server.ask(&format!("{API} AAAA"));
    got.nodata(API);
    assert!(got.message.authorities.iter().all(|record| record.rtype != 2), "{}", got.message);
}

#[test]
fn s_3_the_soas_ttl_is_not_above_its_minimum() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&(zone("corp.example", "nxdomain") + &fake.rule(".")), RECORDS);
    for question in [format!("{API} AAAA"), "none.corp.example A".to_owned(), "corp.example A".to_owned()] {
        let got = server.ask(&question);
        let soa = &got.message.authorities[0];
        let minimum = u32::from_be_bytes(soa.rdata[soa.rdata.len() - 4..].try_into().unwrap());
        assert!(soa.ttl <= minimum, "{}", got.message);
    }
}

#[test]
fn s_5_negative_answers_are_cached_for_the_lesser_of_ttl_and_minimum() {
    let fake = FakeAzureDns::start();
    let soa =
        |ttl: u32, minimum: u32| format!("example {ttl} IN SOA ns.example host.example 1 3600 300 2419200 {minimum}");
    for (name, ttl, minimum) in [("ttl.example", 1, 3600), ("minimum.example", 3600, 1)] {
        let answer = Answer::of(&[]).rcode("NXDOMAIN").authority(&[&soa(ttl, minimum)]);
        fake.gives(&format!("{name} A"), answer);
    }
    fake.gives("kept.example A", Answer::of(&[]).rcode("NXDOMAIN").authority(&[&soa(30, 30)]));
    fake.gives("kept.example AAAA", Answer::of(&[]).authority(&[&soa(30, 30)]));
    let server = Pldns::start(&fake.rule("."), "");
    let all = ["ttl.example A", "minimum.example A", "kept.example A", "kept.example AAAA"];
    for question in all {
        server.ask(question);
        server.ask(question);
    }
    assert_eq!(all.map(|question| fake.seen(question).len()), [1, 1, 1, 1]);
    thread::sleep(Duration::from_millis(1700));
    for question in all {
        server.ask(question);
    }
    assert_eq!(all.map(|question| fake.seen(question).len()), [2, 2, 1, 1]);
}

#[test]
fn s_5_negative_answers_without_an_soa_are_not_cached() {
    let fake = FakeAzureDns::start();
    fake.gives("bare.example A", Answer::of(&[]).rcode("NXDOMAIN"));
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("bare.example A").rcode("NXDOMAIN");
    server.ask("bare.example A").rcode("NXDOMAIN");
    assert_eq!(fake.seen("bare.example A").len(), 2);
}

#[test]
fn s_6_the_soa_of_a_cached_negative_answer_goes_with_it_and_counts_down() {
    let fake = FakeAzureDns::start();
    let soa = "example 50 IN SOA ns.example host.example 1 3600 300 2419200 50";
    fake.gives("none.example A", Answer::of(&[]).rcode("NXDOMAIN").authority(&[soa]));
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("none.example A").rcode("NXDOMAIN").authority(&[soa]);
    thread::sleep(Duration::from_millis(1200));
    let got = server.ask("none.example A");
    got.rcode("NXDOMAIN");
    assert!((40..50).contains(&got.message.authorities[0].ttl), "{}", got.message);
    assert_eq!(fake.seen("none.example A").len(), 1);
}

#[test]
fn s_7_1_a_server_failure_is_not_kept_for_longer_than_five_minutes_nor_stops_recovery() {
    use crate::common::{Play, Script};
    let fake = FakeAzureDns::start();
    let failing = Play::of(Answer::of(&[]).rcode("SERVFAIL"));
    let plays = vec![failing; 1].into_iter().chain([Play::answers(&["a.example 60 IN A 192.0.2.1"])]);
    fake.on("a.example A", Script::udp(plays));
    let server = Pldns::start(&fake.rule("."), "");
    // Whatever the first answer is, within a few seconds the name resolves.
    let resolved = (0..12).any(|_| {
        let got = server.ask("a.example A");
        let good = got.message.rcode() == 0;
        if !good {
            thread::sleep(Duration::from_millis(500));
        }
        good
    });
    assert!(resolved, "the failure is held for too long");
}
