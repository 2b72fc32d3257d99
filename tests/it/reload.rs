//! SIGHUP: the next Snapshot is built aside and swapped; a broken file changes nothing.

use crate::common::cast::{record, zone};
use crate::common::{Answer, FakeAzureDns, Play, Pldns, Query, Script};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[test]
fn new_records_serve_after_a_reload() {
    let fake = FakeAzureDns::start();
    let mut server = Pldns::start(&fake.rule("."), &record("a.example", "A", &["10.0.0.1"]));
    server.ask("a.example A").answers(&["a.example 10 IN A 10.0.0.1"]);
    server.reload(&(record("a.example", "A", &["10.0.0.2"]) + &record("b.example", "A", &["10.0.0.3"])));
    server.ask("a.example A").answers(&["a.example 10 IN A 10.0.0.2"]);
    server.ask("b.example A").answers(&["b.example 10 IN A 10.0.0.3"]);
    server.reload(&record("b.example", "A", &["10.0.0.3"]));
    server.ask("a.example A").rcode("NXDOMAIN").no_aa();
}

#[test]
fn new_settings_serve_after_a_reload() {
    let (old, new) = (FakeAzureDns::start(), FakeAzureDns::start());
    old.answer("a.example A", &["a.example 60 IN A 192.0.2.1"]);
    new.answer("a.example A", &["a.example 60 IN A 192.0.2.2"]);
    let head = "[listen]\nadmin = \"\"\ndrain = \"0s\"\n\n[records]\nfiles = [\"records/*.toml\"]\nwatch = \"0s\"\n\n";
    let mut server = Pldns::start(&format!("{head}{}", old.rule(".")), "");
    server.ask("a.example A").answers(&["a.example 60 IN A 192.0.2.1"]);
    let access = "[access]\nallow = [\"127.0.0.1/32\"]\n\n";
    server.write("pldns.toml", &format!("{head}{access}{}{}", zone("corp.example", "nxdomain"), new.rule(".")));
    server.signal(libc::SIGHUP);
    server.wait_for("reloaded");
    // The cache is keyed by whom the rule asks: the old upstream's answer is not the new one's.
    server.ask("a.example A").answers(&["a.example 60 IN A 192.0.2.2"]);
    server.ask("x.corp.example A").nxdomain("corp.example");
    Query::new("a.example A").from("127.0.0.2").ask_at(server.address()).rcode("REFUSED").no_answers();
}

#[test]
fn a_broken_file_keeps_the_old_table_serving_and_says_where_it_is_broken() {
    let fake = FakeAzureDns::start();
    let good = record("a.example", "A", &["10.0.0.1"]);
    let mut server = Pldns::start(&fake.rule("."), &good);
    let broken = [
        "[[record]\n".to_owned(),
        record("a.example", "A", &["10.0.0.999"]),
        record("a.example", "NOSUCHTYPE", &["x"]),
        good.clone() + &record("a.example", "A", &["10.0.0.2"]),
        good.clone() + &record("a.example", "CNAME", &["b.example."]),
    ];
    for text in broken {
        server.write_records(&text);
        server.signal(libc::SIGHUP);
        let event = server.wait_for("reload rejected");
        assert_eq!(event["level"], "ERROR", "{event}");
        let said = server.events().iter().map(ToString::to_string).collect::<String>();
        assert!(said.contains("records.toml:"), "the place is said: {event}");
        server.ask("a.example A").aa().answers(&["a.example 10 IN A 10.0.0.1"]);
    }
    server.reload(&record("a.example", "A", &["10.0.0.3"]));
    server.ask("a.example A").answers(&["a.example 10 IN A 10.0.0.3"]);
}

#[test]
fn broken_settings_keep_the_old_ones_serving() {
    let fake = FakeAzureDns::start();
    let mut server = Pldns::start(&fake.rule("."), &record("a.example", "A", &["10.0.0.1"]));
    server.write("pldns.toml", "[listen]\nadmin = \"\"\nunknown = 1\n");
    server.signal(libc::SIGHUP);
    server.wait_for("reload rejected");
    server.ask("a.example A").answers(&["a.example 10 IN A 10.0.0.1"]);
    fake.answer("f.example A", &["f.example 60 IN A 192.0.2.1"]);
    server.ask("f.example A").rcode("NOERROR");
}

#[test]
fn no_query_is_lost_while_tables_are_swapped() {
    let fake = FakeAzureDns::start();
    let table = |last: u32| record("a.example", "A", &[&format!("10.0.0.{last}")]);
    let mut server = Pldns::start(&fake.rule("."), &table(1));
    let address = server.address();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let askers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut asked = 0_u32;
                    while !done.load(Ordering::Relaxed) {
                        // Both halves agree: an answer is from one table or the other, never from none.
                        let got = Query::new("a.example A").ask_at(address);
                        got.rcode("NOERROR").aa().before_deadline();
                        assert_eq!(got.message.answers.len(), 1);
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        for round in 0..20 {
            server.reload(&table(round % 200 + 2));
        }
        done.store(true, Ordering::Relaxed);
        let asked: u32 = askers.into_iter().map(|asker| asker.join().unwrap()).sum();
        assert!(asked > 20, "asked {asked} times");
    });
}

#[test]
fn a_query_under_way_survives_a_reload() {
    let fake = FakeAzureDns::start();
    let slow = Play::silence().then(700, Answer::of(&["slow.example 60 IN A 192.0.2.1"]));
    fake.on("slow.example A", Script::udp([slow]));
    let mut server = Pldns::start(&fake.rule("."), "");
    let address = server.address();
    thread::scope(|scope| {
        let asker = scope.spawn(move || {
            Query::new("slow.example A").ask_at(address).answers(&["slow.example 60 IN A 192.0.2.1"]);
        });
        fake.wait_for("slow.example A", 1);
        server.reload(&record("a.example", "A", &["10.0.0.1"]));
        asker.join().unwrap();
    });
    server.ask("a.example A").rcode("NOERROR");
}

#[test]
fn the_table_stands_before_the_cache() {
    let fake = FakeAzureDns::start();
    fake.answer("a.example A", &["a.example 600 IN A 192.0.2.1"]);
    fake.answer("a.example AAAA", &["a.example 600 IN AAAA 2001:db8::1"]);
    let mut server = Pldns::start(&fake.rule("."), "");
    server.ask("a.example A").answers(&["a.example 600 IN A 192.0.2.1"]);
    server.ask("a.example AAAA").answers(&["a.example 600 IN AAAA 2001:db8::1"]);
    server.reload(&record("a.example", "A", &["10.0.0.1"]));
    server.ask("a.example A").aa().answers(&["a.example 10 IN A 10.0.0.1"]);
    server.ask("a.example AAAA").nodata("a.example");
}
