//! `[azure]`: public answers for names whose service has a private endpoint record here, and zones that shadow names.

use crate::common::cast::{record, record_with};
use crate::common::{Answer, FakeAzureDns, Pldns, Query, Setup};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const BLOB: &str = "acct.blob.core.windows.net";
const PRIVATE: &str = "acct.privatelink.blob.core.windows.net";
const STORE: &str = "blob.ams20.store.core.windows.net";
/// The code of the extended error that marks an answer which passes, and of one that is refused.
const OTHER: u16 = 0;
const FILTERED: u16 = 17;

/// An Azure DNS that gives the account's public address, with and without the privatelink name before it.
fn azure() -> FakeAzureDns {
    let fake = FakeAzureDns::start();
    let [to_private, to_store] = [format!("{BLOB} 60 IN CNAME {PRIVATE}"), format!("{PRIVATE} 60 IN CNAME {STORE}")];
    let address = format!("{STORE} 60 IN A 20.60.1.1");
    fake.answer(&format!("{BLOB} A"), &[&to_private, &to_store, &address]);
    fake.answer(&format!("{PRIVATE} A"), &[&to_store, &address]);
    fake.answer(&format!("{STORE} A"), &[&address]);
    fake.answer("www.example.com A", &["www.example.com 60 IN A 192.0.2.1"]);
    fake.answer("plain.blob.core.windows.net A", &["plain.blob.core.windows.net 60 IN A 20.60.1.2"]);
    fake
}

fn settings(fake: &FakeAzureDns, azure: &str) -> String {
    format!("{}\n[azure]\n{azure}\n", fake.rule("."))
}

/// Records that other clients see, so that this one gets the public answer.
fn hidden() -> String {
    record_with(BLOB, "A", &["10.1.0.5"], "clients = [\"10.40.0.0/16\"]")
        + &record_with("plain.privatelink.blob.core.windows.net", "A", &["10.1.0.6"], "clients = [\"10.40.0.0/16\"]")
        + &record("files.corp.example", "CNAME", &[&format!("{BLOB}.")])
}

#[test]
fn a_public_answer_for_a_guarded_name_passes_marked_by_default() {
    let fake = azure();
    let server = Pldns::start(&settings(&fake, ""), &hidden());
    for name in [BLOB, PRIVATE, "files.corp.example", "plain.blob.core.windows.net"] {
        for _ in 0..2 {
            let got = server.ask(&format!("{name} A"));
            got.rcode("NOERROR").ede(OTHER);
            let texts: Vec<_> = got.extended_errors().into_iter().map(|(_, text)| text).collect();
            assert!(texts[0].contains("public address"), "{name}: {texts:?}");
        }
    }
    for name in ["www.example.com", STORE] {
        server.ask(&format!("{name} A")).rcode("NOERROR").no_ede();
    }
    server.stop();
}

#[test]
fn refuse_answers_servfail_and_names_of_public_except_pass() {
    let fake = azure();
    let server = Pldns::start(&settings(&fake, "public_answers = \"refuse\""), &hidden());
    for name in [BLOB, PRIVATE, "files.corp.example", "plain.blob.core.windows.net"] {
        for _ in 0..2 {
            server.ask(&format!("{name} A")).rcode("SERVFAIL").ede(FILTERED).no_answers();
            Query::new(&format!("{name} A")).tcp().ask_at(server.address()).rcode("SERVFAIL").ede(FILTERED);
        }
    }
    server.ask("www.example.com A").rcode("NOERROR").no_ede();
    server.stop();
    let except = format!("public_answers = \"refuse\"\npublic_except = [\"{BLOB}\"]");
    let server = Pldns::start(&settings(&fake, &except), &hidden());
    server.ask(&format!("{BLOB} A")).rcode("NOERROR").no_ede();
    server.ask("files.corp.example A").rcode("NOERROR").no_ede();
    server.ask("plain.blob.core.windows.net A").rcode("SERVFAIL").ede(FILTERED);
    server.stop();
}

#[test]
fn a_reload_that_adds_the_record_guards_what_is_cached() {
    let fake = azure();
    let mut server =
        Pldns::start(&settings(&fake, "public_answers = \"refuse\""), &record("a.example", "A", &["10.0.0.1"]));
    for _ in 0..2 {
        server.ask(&format!("{BLOB} A")).rcode("NOERROR").no_ede();
    }
    server.reload(&hidden());
    server.ask(&format!("{BLOB} A")).rcode("SERVFAIL").ede(FILTERED);
    assert_eq!(fake.seen(&format!("{BLOB} A")).len(), 1, "from the cache");
    server.stop();
}

/// An Azure DNS whose linked zone lacks the account.
fn shadowing() -> FakeAzureDns {
    let fake = FakeAzureDns::start();
    let soa = "privatelink.blob.core.windows.net 10 IN SOA azureprivatedns.net. h.microsoft.com. 1 2 3 4 10";
    let alias = format!("{BLOB} 60 IN CNAME {PRIVATE}");
    fake.gives(&format!("{BLOB} A"), Answer::of(&[&alias]).rcode("NXDOMAIN").authority(&[soa]));
    fake.gives(&format!("{PRIVATE} A"), Answer::of(&[]).rcode("NXDOMAIN").authority(&[soa]));
    fake.answer(&format!("{STORE} A"), &[&format!("{STORE} 60 IN A 20.60.1.1")]);
    fake.gives("gone.example A", Answer::negative("NXDOMAIN", "example"));
    fake
}

#[test]
fn the_fallback_is_asked_for_the_privatelink_target_of_a_shadowed_name_and_for_nothing_else() {
    let (fake, fallback) = (shadowing(), azure());
    let azure = format!("public_fallback = [\"{}\"]", fallback.address());
    let server = Pldns::start(&settings(&fake, &azure), "");
    server.ask(&format!("{BLOB} A")).rcode("NOERROR").answers(&[
        format!("{BLOB} 60 IN CNAME {PRIVATE}"),
        format!("{PRIVATE} 60 IN CNAME {STORE}"),
        format!("{STORE} 60 IN A 20.60.1.1"),
    ]);
    server.ask(&format!("{BLOB} A")).rcode("NOERROR");
    server.ask(&format!("{PRIVATE} A")).rcode("NXDOMAIN");
    server.ask("gone.example A").rcode("NXDOMAIN");
    let asked = fallback.seen(&format!("{PRIVATE} A")).len();
    assert_eq!(asked, 1, "the privatelink target, once: the answer is cached");
    for other in [BLOB, STORE, "gone.example"] {
        assert!(fallback.seen(&format!("{other} *")).is_empty(), "{other}");
    }
    server.stop();
}

/// A page of the admin listener.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

#[test]
fn what_the_guard_finds_is_counted_logged_once_a_name_and_explained() {
    let fake = azure();
    let soa = "privatelink.vaultcore.azure.net 10 IN SOA azureprivatedns.net. h.microsoft.com. 1 2 3 4 10";
    let alias = "kv.vault.azure.net 60 IN CNAME kv.privatelink.vaultcore.azure.net";
    fake.gives("kv.vault.azure.net A", Answer::of(&[alias]).rcode("NXDOMAIN").authority(&[soa]));
    let text = format!(
        "[listen]\nadmin = \"127.0.0.1:0\"\ndrain = \"0s\"\n\n{}",
        settings(&fake, "public_answers = \"refuse\"")
    );
    let server = Setup::new(&text, &hidden()).start();
    for _ in 0..3 {
        server.ask(&format!("{BLOB} A")).rcode("SERVFAIL");
        server.ask("kv.vault.azure.net A").rcode("NXDOMAIN");
    }
    let admin = server.events().iter().find(|event| event["transport"] == "admin").unwrap()["address"].clone();
    let admin: SocketAddr = admin.as_str().unwrap().parse().unwrap();
    let metrics = get(admin, "/metrics");
    for line in [
        "pldns_public_answers_total{action=\"refuse\"} 3",
        "pldns_public_answers_total{action=\"warn\"} 0",
        "pldns_public_fallback_total 0",
        "pldns_shadowed_total{zone=\"privatelink.vaultcore.azure.net\"} 3",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    let page = get(admin, &format!("/explain?name={BLOB}&ask=true"));
    assert!(page.contains("\"cause\":\"public_refused\"") && page.contains("\"step\":\"guard\""), "{page}");
    assert!(
        get(admin, "/metrics").contains("pldns_public_answers_total{action=\"refuse\"} 3"),
        "explaining counts nothing"
    );
    let end = Instant::now() + Duration::from_secs(20);
    let status = loop {
        let status: Value = serde_json::from_str(get(admin, "/status").split("\r\n\r\n").nth(1).unwrap()).unwrap();
        if status["finding_count"] == 2 {
            break status;
        }
        assert!(Instant::now() < end, "{status:#}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let finding =
        |kind: &str| status["findings"].as_array().unwrap().iter().find(|it| it["kind"] == kind).unwrap().clone();
    let public = finding("public_answer");
    assert_eq!((&public["name"], &public["client"]), (&BLOB.into(), &"127.0.0.1".into()), "{public}");
    assert!(public["reason"].as_str().unwrap().contains("public_answers is \"refuse\""), "{public}");
    let shadowed = finding("shadowed");
    assert!(shadowed["reason"].as_str().unwrap().contains("linked to the network"), "{shadowed}");
    assert!(shadowed["fix"].as_str().unwrap().contains("NxDomainRedirect"), "{shadowed}");
    let found = |server: &Pldns, message: &str| -> Vec<Value> {
        let begins = |event: &Value| event["message"].as_str().is_some_and(|said| said.starts_with(message));
        server.events().into_iter().filter(begins).collect()
    };
    // What was found is logged a moment later, in whatever order.
    let end = Instant::now() + Duration::from_secs(20);
    while found(&server, "public answer").is_empty() || found(&server, "private DNS zone shadows").is_empty() {
        assert!(Instant::now() < end, "{:#?}", server.events());
        std::thread::sleep(Duration::from_millis(20));
    }
    let event = found(&server, "public answer").remove(0);
    assert_eq!((&event["name"], &event["action"]), (&BLOB.into(), &"refuse".into()), "{event}");
    server.ask(&format!("{BLOB} A")).rcode("SERVFAIL");
    let count = |message: &str| found(&server, message).len();
    assert_eq!((count("public answer"), count("private DNS zone shadows")), (1, 1), "once a name");
    server.stop();
}
