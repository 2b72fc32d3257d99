//! Zone groups in the wrong zone: a request for each endpoint, for a few endpoints in a round.

use super::fake::{FakeAzure, HUB, Odd, page, rounds, until_address};
use crate::common::{FakeAzureDns, Pldns, SOON, Setup, run};
use serde_json::Value;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

const ZONE: &str = "privatelink.blob.core.windows.net";

fn start(azure: &FakeAzure, more: &str) -> (Pldns, SocketAddr) {
    let fake = FakeAzureDns::start();
    let text = azure.settings(&[HUB], more).replace("admin = \"\"", "admin = \"127.0.0.1:0\"");
    let server = Setup::new(&(text + &fake.rule(".")), "").start();
    let events = server.events();
    let admin = events.iter().find(|event| event["transport"] == "admin").unwrap()["address"].as_str().unwrap();
    (server, admin.parse().unwrap())
}

/// What /drift says of zone groups.
fn wrong(admin: SocketAddr) -> Vec<Value> {
    let all = page(admin, "/drift")["drift"].as_array().unwrap().clone();
    all.into_iter().filter(|drift| drift["kind"] == "zone_group").collect()
}

#[track_caller]
fn until_count(admin: SocketAddr, count: usize) {
    let end = Instant::now() + SOON;
    while wrong(admin).len() != count {
        assert!(Instant::now() < end, "never {count}: {:?}", wrong(admin));
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_zone_group_in_the_wrong_zone_is_drift_until_it_is_right() {
    let azure = FakeAzure::start();
    azure.endpoint(HUB, "right-pe", "hub", "10.0.0.4").endpoint(HUB, "wrong-pe", "hub", "10.0.0.5");
    azure.endpoint(HUB, "none-pe", "hub", "10.0.0.6");
    azure.state().zones.insert("right-pe".to_owned(), ZONE.to_owned());
    azure.state().zones.insert("wrong-pe".to_owned(), "privatelink.file.core.windows.net".to_owned());
    let (server, admin) = start(&azure, "");
    until_count(admin, 1);
    let drift = &wrong(admin)[0];
    assert!(drift["subject"].as_str().unwrap().ends_with("/privateendpoints/wrong-pe"), "{drift}");
    let reason = drift["reason"].as_str().unwrap();
    assert!(reason.contains("\"privatelink.file.core.windows.net\"") && reason.contains(ZONE), "{reason}");
    assert!(drift["fix"].as_str().unwrap().contains("dns-zone-group"), "{drift}");
    azure.state().zones.insert("wrong-pe".to_owned(), ZONE.to_owned());
    until_count(admin, 0);
    server.stop();
}

#[test]
fn a_round_reads_the_groups_of_twenty_endpoints_and_the_next_one_those_of_others() {
    let azure = FakeAzure::start();
    azure.state().page = 1000;
    for number in 0..50 {
        azure.endpoint(HUB, &format!("st{number}-pe"), "hub", &format!("10.0.0.{number}"));
        azure.state().zones.insert(format!("st{number}-pe"), "privatelink.file.core.windows.net".to_owned());
    }
    let (server, admin) = start(&azure, "");
    until_count(admin, 50);
    // By the beginning of each round's lists.
    let mut asked = Vec::new();
    for (path, _) in &azure.state().requests {
        if path.contains("/privateEndpoints?") {
            asked.push(Vec::new());
        } else if path.contains("/privateDnsZoneGroups?") {
            asked.last_mut().unwrap().push(path.clone());
        }
    }
    let counts: Vec<usize> = asked.iter().take(3).map(Vec::len).collect();
    assert_eq!(counts, [20, 20, 20], "in a round");
    let mut first: Vec<&String> = asked.iter().flatten().take(50).collect();
    first.sort();
    first.dedup();
    assert_eq!(first.len(), 50, "none twice before each once");
    server.stop();
}

#[test]
fn without_the_right_to_read_groups_nothing_is_said_of_them_and_the_round_is_complete() {
    let azure = FakeAzure::start();
    for number in 0..30 {
        azure.endpoint(HUB, &format!("st{number}-pe"), "hub", &format!("10.0.0.{number}"));
        azure.state().zones.insert(format!("st{number}-pe"), "privatelink.file.core.windows.net".to_owned());
    }
    azure.odd("privateDnsZoneGroups", Odd::Status(403, None), usize::MAX);
    let (server, admin) = start(&azure, "");
    until_address(&server, "st7.blob.core.windows.net", "10.0.0.7");
    rounds(&azure, HUB, 3);
    let asked = azure.requests("privateDnsZoneGroups");
    assert!(asked <= azure.requests("/virtualNetworks?"), "one request in a round, {asked}");
    assert_eq!(wrong(admin), [] as [Value; 0]);
    assert_eq!(page(admin, "/drift")["discover"]["state"], "ok");
    // The right is given, and taken away again.
    azure.state().odd.clear();
    until_count(admin, 30);
    azure.odd("privateDnsZoneGroups", Odd::Status(403, None), usize::MAX);
    until_count(admin, 0);
    server.stop();
}

#[test]
fn verify_reports_what_discovery_found() {
    let azure = FakeAzure::start();
    azure.endpoint(HUB, "acct-pe", "hub", "10.0.0.5");
    azure.state().zones.insert("acct-pe".to_owned(), "privatelink.file.core.windows.net".to_owned());
    let (server, admin) = start(&azure, "");
    until_count(admin, 1);
    let (dns, admin) = (server.address().to_string(), format!("http://{admin}"));
    let ask = |more: &[&str]| {
        let fixed = ["verify", "-c", "pldns.toml", "--server", &dns];
        run(server.path(), &[&fixed, more].concat())
    };
    let ran = ask(&["--admin", &admin]);
    ran.code(0);
    assert!(ran.out.contains("drift: zone_group /subscriptions/") && ran.out.contains("dns-zone-group"), "{}", ran.out);
    let report: Value = serde_json::from_str(&ask(&["--admin", &admin, "--format", "json"]).code(0).out).unwrap();
    assert_eq!(report["discovered"][0]["kind"], "zone_group", "{report}");
    let ran = ask(&["--admin", &admin, "--format", "junit"]);
    assert!(ran.code(0).out.contains("drift: zone_group"), "{}", ran.out);
    assert!(!ask(&[]).code(0).out.contains("zone_group"), "not asked for");
    ask(&["--admin", "http://127.0.0.1:9"]).code(1).err_has("http://127.0.0.1:9");
    server.stop();
}
