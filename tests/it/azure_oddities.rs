//! What 168.63.129.16 was seen to do, and that it is survived.

use crate::common::{Answer, FakeAzureDns, Play, Pldns, Query, Script, Transport, dns};
use std::time::{Duration, Instant};

fn truth() -> Answer {
    Answer::of(&[
        "acct.blob.core.windows.net 60 IN CNAME blob.stamp.store.core.windows.net",
        "blob.stamp.store.core.windows.net 60 IN A 20.60.1.1",
    ])
}

fn lines() -> [&'static str; 2] {
    [
        "acct.blob.core.windows.net 60 IN CNAME blob.stamp.store.core.windows.net",
        "blob.stamp.store.core.windows.net 60 IN A 20.60.1.1",
    ]
}

const QUESTION: &str = "acct.blob.core.windows.net A";

/// One bad answer over UDP, the whole one over TCP: what the client gets is whole, soon, and came over TCP.
#[track_caller]
fn tcp_decides(bad: Answer) {
    let fake = FakeAzureDns::start();
    fake.on(QUESTION, Script::udp([Play::of(bad)]).tcp([Play::of(truth())]));
    let server = Pldns::start(&fake.rule("."), "");
    server.ask(QUESTION).rcode("NOERROR").no_tc().answers(&lines()).before_deadline();
    let transports: Vec<_> = fake.seen(QUESTION).iter().map(|seen| seen.transport).collect();
    assert_eq!(transports, [Transport::Udp, Transport::Tcp]);
}

#[test]
fn truncated_answers_are_asked_again_over_tcp() {
    tcp_decides(Answer::of(&[]).flag(dns::TC));
    tcp_decides(truth().flag(dns::TC));
}

#[test]
fn answers_cut_in_the_middle_of_a_record_are_asked_again_over_tcp_with_tc_and_without() {
    tcp_decides(truth().without_opt().flag(dns::TC).cut(3));
    tcp_decides(truth().without_opt().cut(3));
    tcp_decides(truth().without_opt().cut(20));
    tcp_decides(truth().cut(5));
}

#[test]
fn an_answer_cut_in_its_question_does_not_end_the_wait() {
    let fake = FakeAzureDns::start();
    fake.on(QUESTION, Script::udp([Play::of(truth().edit(|bytes| bytes.truncate(20))).then(50, truth())]));
    let server = Pldns::start(&fake.rule("."), "");
    server.ask(QUESTION).rcode("NOERROR").answers(&lines()).before_deadline();
}

#[test]
fn tcp_byte_by_byte_is_read_to_its_end() {
    let fake = FakeAzureDns::start();
    let truncated = Play::of(Answer::of(&[]).flag(dns::TC));
    fake.on(QUESTION, Script::udp([truncated]).tcp([Play::of(truth()).byte_by_byte()]));
    let server = Pldns::start(&fake.rule("."), "");
    server.ask(QUESTION).answers(&lines()).before_deadline();
}

#[test]
fn a_connection_closed_in_the_middle_does_not_end_the_wait() {
    let fake = FakeAzureDns::start();
    let truncated = Play::of(Answer::of(&[]).flag(dns::TC));
    let tcp = [Play::of(truth()).closed_in_the_middle(), Play::closed(), Play::of(truth())];
    fake.on(QUESTION, Script::udp([truncated]).tcp(tcp));
    let server = Pldns::start(&fake.rule("."), "");
    server.ask(QUESTION).answers(&lines());
}

#[test]
fn where_tcp_is_refused_a_truncated_answer_fails_in_time_and_others_go_on() {
    let fake = FakeAzureDns::start_without_tcp();
    fake.on(QUESTION, Script::udp([Play::of(truth().without_opt().flag(dns::TC).cut(3))]));
    fake.answer("small.example A", &["small.example 60 IN A 192.0.2.1"]);
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("small.example A").rcode("NOERROR").before_deadline();
    server.ask(QUESTION).rcode("SERVFAIL").some_ede();
    // Not counted as the upstream's failure: it still serves what fits, at once.
    fake.answer("other.example A", &["other.example 60 IN A 192.0.2.1"]);
    server.ask("other.example A").rcode("NOERROR").before_deadline();
}

#[test]
fn where_tcp_is_swallowed_a_truncated_answer_fails_in_time_and_others_go_on() {
    let fake = FakeAzureDns::start();
    let truncated = Play::of(Answer::of(&[]).flag(dns::TC));
    fake.on(QUESTION, Script::udp([truncated]).tcp([Play::silence()]));
    fake.answer("small.example A", &["small.example 60 IN A 192.0.2.1"]);
    let server = Pldns::start(&fake.rule("."), "");
    let address = server.address();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let got = Query::new(QUESTION).ask_at(address);
            got.rcode("SERVFAIL").some_ede();
        });
        fake.wait_for(QUESTION, 2);
        server.ask("small.example A").rcode("NOERROR").before_deadline();
    });
}

#[test]
fn tcp_that_is_not_to_be_had_is_said_at_start_up_without_delaying_it() {
    let fake = FakeAzureDns::start_without_tcp();
    let server = Pldns::start(&fake.rule("."), "");
    let deadline = Instant::now() + Duration::from_secs(8);
    loop {
        let said = server
            .events()
            .iter()
            .filter(|event| {
                let text = event.to_string();
                event["level"] == "WARN"
                    && text.contains(&fake.address().to_string())
                    && text.to_ascii_lowercase().contains("tcp")
            })
            .count();
        if said > 0 {
            assert_eq!(said, 1, "said once");
            break;
        }
        assert!(Instant::now() < deadline, "no warning names {} and TCP", fake.address());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_cookie_and_the_size_of_the_hop_stay_on_the_hop() {
    let fake = FakeAzureDns::start();
    // The fake echoes cookies and says 1224, as Azure does; this answer carries one unasked as well.
    fake.gives(QUESTION, truth().option(10, &[9; 16]).option(3, b"azure-frontend"));
    let server = Pldns::start(&fake.rule("."), "");
    let got = server.ask(QUESTION);
    got.rcode("NOERROR").answers(&lines());
    assert_eq!(got.opt().size, 1232, "{}", got.message);
    assert!(got.opt().options.iter().all(|(code, _)| *code != 10), "a cookie nobody sent: {}", got.message);
}

#[test]
fn the_byte_swapped_ttl_of_blocked_names_is_capped() {
    let fake = FakeAzureDns::start();
    fake.answer("blocked.example A", &["blocked.example 1006632960 IN CNAME blockpolicy.azuredns.invalid"]);
    let server = Pldns::start(&fake.rule("."), "");
    let got = server.ask("blocked.example A");
    assert!((1..=3600).contains(&got.message.answers[0].ttl), "{}", got.message);
    // The alias is followed as any other, and names below `invalid` do not exist.
    got.rcode("NXDOMAIN").answers(&["blocked.example * IN CNAME blockpolicy.azuredns.invalid"]);
    assert!(fake.seen("blockpolicy.azuredns.invalid *").is_empty());
}

#[test]
fn ttls_with_the_sign_bit_do_not_live_for_ever() {
    let fake = FakeAzureDns::start();
    fake.answer("a.example A", &["a.example 4294967294 IN A 192.0.2.1"]);
    let server = Pldns::start(&fake.rule("."), "");
    let got = server.ask("a.example A");
    assert!(got.message.answers[0].ttl <= 3600, "{}", got.message);
}

#[test]
fn private_answers_keep_their_ten_seconds() {
    let fake = FakeAzureDns::start();
    let lines = [
        "acct.blob.core.windows.net 1800 IN CNAME acct.privatelink.blob.core.windows.net",
        "acct.privatelink.blob.core.windows.net 10 IN A 10.20.4.9",
    ];
    fake.answer(QUESTION, &lines);
    let server = Pldns::start(&fake.rule("."), "");
    server.ask(QUESTION).no_aa().answers(&lines);
}

#[test]
fn nxdomain_at_a_privatelink_name_passes_with_its_chain_and_soa() {
    let fake = FakeAzureDns::start();
    let chain = "acct.blob.core.windows.net 60 IN CNAME acct.privatelink.blob.core.windows.net";
    let soa = "privatelink.blob.core.windows.net 10 IN SOA azureprivatedns.net azureprivatedns-host.microsoft.com 1 3600 300 2419200 10";
    fake.gives(QUESTION, Answer::of(&[chain]).rcode("NXDOMAIN").authority(&[soa]));
    let server = Pldns::start(&fake.rule("."), "");
    server.ask(QUESTION).rcode("NXDOMAIN").no_aa().answers(&[chain]).authority(&[soa]);
}

#[test]
fn additional_records_never_become_answers() {
    let fake = FakeAzureDns::start();
    let answer = Answer::of(&["_mongodb._tcp.db.example 60 IN SRV 0 0 27017 host.example"])
        .additional(&["host.example 60 IN A 10.0.0.9"]);
    fake.gives("_mongodb._tcp.db.example SRV", answer);
    let server = Pldns::start(&fake.rule("."), "");
    for _ in 0..2 {
        let got = server.ask("_mongodb._tcp.db.example SRV");
        got.answers(&["_mongodb._tcp.db.example * IN SRV 0 0 27017 host.example"]);
        got.additional(&["host.example * IN A 10.0.0.9"]);
    }
}

#[test]
fn an_upstream_without_edns_is_still_understood() {
    let fake = FakeAzureDns::start();
    fake.gives("plain.example A", Answer::of(&["plain.example 60 IN A 192.0.2.1"]).without_opt());
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("plain.example A").rcode("NOERROR").answers(&["plain.example 60 IN A 192.0.2.1"]);
}

#[test]
fn an_opt_that_is_not_the_last_record_leaves_the_others_whole() {
    let fake = FakeAzureDns::start();
    // After the OPT record: a name in full, and one that points at it. Both must mean the same when the OPT is gone.
    let answer = Answer::of(&["a.example 60 IN SRV 0 0 443 host.far.test"]).edit(|bytes| {
        let mut opt = Vec::new();
        if bytes[11] == 1 {
            opt = bytes.split_off(bytes.len() - 11);
        }
        bytes.extend(&opt);
        let place = bytes.len();
        bytes.extend(dns::name("host.far.test"));
        bytes.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        bytes.extend([3, b't', b'w', b'o', 0xc0 | (place >> 8) as u8, place as u8]);
        bytes.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 2]);
        bytes[11] += 2;
    });
    fake.gives("a.example SRV", answer);
    let server = Pldns::start(&fake.rule("."), "");
    for _ in 0..2 {
        let got = server.ask("a.example SRV");
        got.rcode("NOERROR").answers(&["a.example * IN SRV 0 0 443 host.far.test"]);
        got.additional(&["host.far.test * IN A 192.0.2.1", "two.host.far.test * IN A 192.0.2.2"]);
    }
}

#[test]
fn an_upstream_that_does_not_know_edns_is_asked_without() {
    for with_tcp in [true, false] {
        let fake = if with_tcp { FakeAzureDns::start() } else { FakeAzureDns::start_without_tcp() };
        let formerr = Play::of(Answer::of(&[]).rcode("FORMERR").without_opt());
        let truth = Play::of(Answer::of(&["a.example 60 IN A 192.0.2.1"]).without_opt());
        // A datagram may be forged: over TCP it says the same.
        fake.on("a.example A", Script::udp([formerr.clone(), truth]).tcp([formerr]));
        let server = Pldns::start(&fake.rule("."), "");
        server.ask("a.example A").answers(&["a.example 60 IN A 192.0.2.1"]).before_deadline();
        let asked = fake.seen("a.example A");
        assert!(asked.iter().any(|seen| seen.message.opt.is_none()), "never asked without EDNS");
    }
}

#[test]
fn a_bare_formerr_of_twelve_bytes_leads_to_a_query_without_edns() {
    let fake = FakeAzureDns::start();
    let bare = Answer::of(&[]).rcode("FORMERR").edit(|bytes| {
        bytes.truncate(12);
        bytes[4..12].fill(0);
    });
    let truth = Play::of(Answer::of(&["a.example 60 IN A 192.0.2.1"]).without_opt());
    let script = Script::udp([Play::of(bare.clone()), truth.clone()]).tcp([Play::of(bare), truth]);
    fake.on("a.example A", script);
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("a.example A").answers(&["a.example 60 IN A 192.0.2.1"]);
}
