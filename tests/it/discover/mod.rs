//! Live discovery against a fake instance metadata service and Azure Resource Manager, over real HTTP.

mod fake;
mod scope;
mod zone_groups;

use crate::common::{Answer, FakeAzureDns, Pldns, Query, SOON, Scratch, Setup, run};
use fake::{ACCOUNT, FakeAzure, HUB, Odd, SPOKE, page, rounds, state_of, until, until_address, until_gone};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn endpoints_become_records_within_a_round_over_all_pages_and_leave_after_their_grace() {
    let (azure, fake) = (FakeAzure::start(), FakeAzureDns::start());
    for number in 0..7 {
        azure.endpoint(HUB, &format!("st{number}-pe"), "hub", &format!("10.0.0.{number}"));
    }
    let settings = azure.settings(&[HUB], "grace = \"500ms\"\n") + &fake.rule(".");
    let server = Setup::new(&settings, "").start();
    for number in 0..7 {
        until_address(&server, &format!("st{number}.blob.core.windows.net"), &format!("10.0.0.{number}"));
        until_address(&server, &format!("st{number}.privatelink.blob.core.windows.net"), &format!("10.0.0.{number}"));
    }
    azure.endpoint(HUB, "late-pe", "hub", "10.0.0.99");
    until_address(&server, "late.blob.core.windows.net", "10.0.0.99");
    azure.remove(HUB, "st3-pe");
    until_gone(&server, "st3.blob.core.windows.net");
    server.ask("st4.blob.core.windows.net A").rcode("NOERROR").aa();
    assert_eq!(state_of(&server)["state"], "ok");
    // The token was used again and again.
    assert_eq!(azure.state().tokens, 1);
    server.stop();
}

#[test]
fn an_endpoint_that_is_made_again_has_its_new_address_at_once() {
    let (azure, fake) = (FakeAzure::start(), FakeAzureDns::start());
    azure.endpoint(HUB, "acct-pe1", "hub", "10.0.0.4");
    let settings = azure.settings(&[HUB], "grace = \"1h\"\n") + &fake.rule(".");
    let server = Setup::new(&settings, "").start();
    until_address(&server, ACCOUNT, "10.0.0.4");
    azure.remove(HUB, "acct-pe1");
    rounds(&azure, HUB, 3);
    server.ask(&format!("{ACCOUNT} A")).answers(&[format!("{ACCOUNT} 10 IN A 10.0.0.4")]);
    azure.endpoint(HUB, "acct-pe2", "hub", "10.0.0.5");
    until_address(&server, ACCOUNT, "10.0.0.5");
    server.stop();
}

#[test]
fn only_approved_connections_are_served() {
    let (azure, fake) = (FakeAzure::start(), FakeAzureDns::start());
    for (name, state) in [("a-pe", "Pending"), ("b-pe", "Rejected"), ("c-pe", "Disconnected"), ("d-pe", "Approved")] {
        azure.endpoint_in(HUB, name, "hub", "10.0.0.4", state);
    }
    let server = Setup::new(&(azure.settings(&[HUB], "") + &fake.rule(".")), "").start();
    until_address(&server, "d.blob.core.windows.net", "10.0.0.4");
    for name in ["a", "b", "c"] {
        server.ask(&format!("{name}.blob.core.windows.net A")).rcode("NXDOMAIN").no_answers();
    }
    assert_eq!(state_of(&server)["drift"], 3, "three connections that are not approved");
    server.stop();
}

#[test]
fn an_endpoint_that_waits_for_approval_is_the_reason_for_a_public_answer() {
    let (azure, fake) = (FakeAzure::start(), FakeAzureDns::start());
    azure.endpoint_in(HUB, "acct-pe", "hub", "10.0.0.4", "Pending").endpoint(HUB, "d-pe", "hub", "10.0.0.5");
    fake.gives(&format!("{ACCOUNT} A"), Answer::of(&[&format!("{ACCOUNT} 60 IN A 20.60.1.1")]));
    let text = azure.settings(&[HUB], "").replace("admin = \"\"", "admin = \"127.0.0.1:0\"");
    let server = Setup::new(&(text + &fake.rule(".")), "").start();
    until_address(&server, "d.blob.core.windows.net", "10.0.0.5");
    let admin = server.events().iter().find(|event| event["transport"] == "admin").unwrap()["address"].clone();
    let explanation: Value =
        page(admin.as_str().unwrap().parse().unwrap(), &format!("/explain?name={ACCOUNT}&ask=true"));
    assert_eq!((&explanation["verdict"], &explanation["cause"]), (&"public".into(), &"pending_approval".into()));
    let reason = explanation["reason"].as_str().unwrap();
    let finding = &page(admin.as_str().unwrap().parse().unwrap(), "/status")["findings"][0];
    assert_eq!((&finding["kind"], &finding["name"]), (&"pending_connection".into(), &ACCOUNT.into()), "{finding}");
    assert!(finding["fix"].as_str().unwrap().contains("Approve the connection"), "{finding}");
    assert!(reason.contains("privateendpoints/acct-pe") && reason.contains("waits for approval"), "{reason}");
    server.stop();
}

#[test]
fn whatever_resource_manager_does_the_table_keeps_what_it_has() {
    let odds = [
        ("token", "/metadata/identity", Odd::Status(404, None)),
        ("forbidden", "privateEndpoints?", Odd::Status(403, None)),
        ("server", "networkInterfaces", Odd::Status(500, Some(0))),
        ("throttled", "virtualNetworks", Odd::Status(429, Some(600))),
        ("answer", "privateEndpoints?", Odd::Repeated),
        ("answer", "privateEndpoints?", Odd::Elsewhere("127.0.0.1:9".to_owned())),
    ];
    for (reason, path, odd) in odds {
        let (azure, fake) = (FakeAzure::start(), FakeAzureDns::start());
        azure.endpoint(HUB, "acct-pe", "hub", "10.0.0.4");
        azure.state().token_lifetime = 0;
        let settings = azure.settings(&[HUB], "grace = \"1ms\"\n") + &fake.rule(".");
        let mut server = Setup::new(&settings, "").start();
        until_address(&server, ACCOUNT, "10.0.0.4");
        // The endpoint goes away in the same moment: nothing tells the server for certain.
        azure.odd(path, odd, usize::MAX);
        azure.remove(HUB, "acct-pe");
        let event = server.wait_for("discovery failed; keeping its records");
        assert_eq!(event["reason"], reason, "{event}");
        server.ask(&format!("{ACCOUNT} A")).answers(&[format!("{ACCOUNT} 10 IN A 10.0.0.4")]);
        let state = state_of(&server);
        assert_eq!((&state["state"], &state["reason"]), (&"failing".into(), &Value::Null), "no texts for everybody");
        azure.state().odd.clear();
        server.wait_for("discovery works again");
        until_gone(&server, ACCOUNT);
        let log: String = server.events().iter().map(ToString::to_string).collect();
        assert!(!log.contains("secret-"), "a token in the log");
        server.stop();
    }
}

#[test]
fn a_subscription_that_lists_more_than_may_be_held_is_named_with_the_bound_and_what_it_had_serves_on() {
    let (azure, fake) = (FakeAzure::start(), FakeAzureDns::start());
    azure.endpoint(HUB, "acct-pe", "hub", "10.0.0.4").endpoint(SPOKE, "two-pe", "hub", "10.0.0.5");
    azure.state().page = 1000;
    let settings = azure.settings(&[HUB, SPOKE], "grace = \"1ms\"\nmax_memory = \"1MiB\"\n") + &fake.rule(".");
    let mut server = Setup::new(&settings, "").start();
    until_address(&server, ACCOUNT, "10.0.0.4");
    {
        let mut state = azure.state();
        let many = (0..2000).map(|at| (format!("st{at}-pe"), "hub".into(), "10.0.1.1".into(), "Approved".into()));
        state.endpoints.get_mut(HUB).unwrap().splice(.., many);
    }
    let event = server.wait_for("discovery failed; keeping its records");
    assert_eq!((&event["of"], &event["reason"]), (&HUB.into(), &"too_large".into()), "{event}");
    assert!(event["error"].as_str().unwrap().contains("`[azure.discover] max_memory` (1 MiB)"), "{event}");
    azure.endpoint(SPOKE, "three-pe", "hub", "10.0.0.6");
    until_address(&server, "three.blob.core.windows.net", "10.0.0.6");
    server.ask(&format!("{ACCOUNT} A")).answers(&[format!("{ACCOUNT} 10 IN A 10.0.0.4")]);
    azure.state().endpoints.get_mut(HUB).unwrap().truncate(20);
    until_address(&server, "st19.blob.core.windows.net", "10.0.1.1");
    until_gone(&server, ACCOUNT);
    server.stop();
}

#[test]
fn bodies_that_end_early_and_moments_of_throttling_are_repeated_within_a_round() {
    let (azure, fake) = (FakeAzure::start(), FakeAzureDns::start());
    azure.endpoint(HUB, "acct-pe", "hub", "10.0.0.4");
    azure.odd("privateEndpoints?", Odd::Cut, 1);
    azure.odd("networkInterfaces", Odd::Status(429, Some(1)), 1);
    azure.odd("virtualNetworks", Odd::Status(401, None), 1);
    let server = Setup::new(
        &(azure.settings(&[HUB], "interval = \"1h\"\n").replace("interval = \"50ms\"\n", "") + &fake.rule(".")),
        "",
    )
    .start();
    until_address(&server, ACCOUNT, "10.0.0.4");
    assert_eq!(azure.state().tokens, 2, "another token after 401");
    assert_eq!(azure.requests("privateEndpoints?"), 2);
    server.stop();
}

#[test]
fn one_subscription_that_cannot_be_read_keeps_its_records_and_the_other_goes_on() {
    let (azure, fake) = (FakeAzure::start(), FakeAzureDns::start());
    azure.endpoint(HUB, "one-pe", "hub", "10.0.0.4").endpoint(SPOKE, "two-pe", "hub", "10.0.0.5");
    let settings = azure.settings(&[HUB, SPOKE], "grace = \"1ms\"\n") + &fake.rule(".");
    let mut server = Setup::new(&settings, "").start();
    until_address(&server, "one.blob.core.windows.net", "10.0.0.4");
    until_address(&server, "two.blob.core.windows.net", "10.0.0.5");
    azure.odd(&format!("/subscriptions/{SPOKE}"), Odd::Status(403, None), usize::MAX);
    server.wait_for("discovery failed; keeping its records");
    azure.remove(SPOKE, "two-pe");
    azure.endpoint(HUB, "three-pe", "hub", "10.0.0.6");
    azure.remove(HUB, "one-pe");
    until_address(&server, "three.blob.core.windows.net", "10.0.0.6");
    until_gone(&server, "one.blob.core.windows.net");
    server.ask("two.blob.core.windows.net A").answers(&["two.blob.core.windows.net 10 IN A 10.0.0.5"]);
    server.stop();
}

#[test]
fn the_last_good_result_serves_at_the_next_start_without_azure() {
    let (azure, fake) = (FakeAzure::start(), FakeAzureDns::start());
    azure.endpoint(HUB, "acct-pe", "hub", "10.0.0.4");
    let settings = azure.settings(&[HUB], "") + &fake.rule(".");
    let server = Setup::new(&settings, "").start();
    until_address(&server, ACCOUNT, "10.0.0.4");
    let file = server.path().join("discovered.toml");
    let end = Instant::now() + SOON;
    while !file.exists() {
        assert!(Instant::now() < end, "no state file");
        thread::sleep(Duration::from_millis(10));
    }
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(!text.contains("secret-"), "a token in the state file");
    server.stop();
    azure.odd("/", Odd::Status(503, Some(600)), usize::MAX);
    let server = Setup::new(&settings, "").with_file("discovered.toml", &text).start();
    server.ask(&format!("{ACCOUNT} A")).answers(&[format!("{ACCOUNT} 10 IN A 10.0.0.4")]);
    server.stop();
    // A file that was cut is named and ignored.
    let mut server = Setup::new(&settings, "").with_file("discovered.toml", &text[..text.len() / 2]).start();
    server.ask(&format!("{ACCOUNT} A")).rcode("NXDOMAIN");
    let is_said = |server: &Pldns| {
        let events = server.events();
        let mut messages = events.iter().filter_map(|event| event["message"].as_str());
        messages.any(|text| text.contains("discovered.toml is ignored"))
    };
    // The thread of discovery says so.
    let end = Instant::now() + SOON;
    while !is_said(&server) {
        assert!(Instant::now() < end, "{:#?}", server.events());
        thread::sleep(Duration::from_millis(10));
    }
    azure.state().odd.clear();
    server.wait_for("discovery");
    server.stop();
}

#[test]
fn clients_get_the_endpoint_of_their_own_network_then_of_a_peer() {
    let (azure, fake) = (FakeAzure::start(), FakeAzureDns::start());
    azure
        .endpoint(HUB, "acct-pe1", "one", "10.1.0.4")
        .endpoint(HUB, "acct-pe2", "two", "10.2.0.4")
        .network("one", "127.0.1.0/24", &["three"])
        .network("two", "127.0.2.0/24", &[])
        .network("three", "127.0.3.0/24", &["one"])
        .network("server", "127.0.9.0/24", &["two"]);
    "127.0.2.9".clone_into(&mut azure.state().here);
    let server = Setup::new(&(azure.settings(&[HUB], "") + &fake.rule(".")), "").start();
    let query = |from| Query::new(&format!("{ACCOUNT} A")).from(from);
    for (client, address) in
        [("127.0.1.1", "10.1.0.4"), ("127.0.2.1", "10.2.0.4"), ("127.0.3.1", "10.1.0.4"), ("127.0.0.1", "10.2.0.4")]
    {
        let expected = crate::common::dns::record(&format!("{ACCOUNT} 10 IN A {address}"));
        until(&server, &query(client), |got| got.message.answers.iter().any(|record| record.is(&expected)));
    }
    server.stop();
}

#[test]
fn without_views_two_endpoints_are_a_conflict_that_is_logged_and_the_rest_is_served() {
    let (azure, fake) = (FakeAzure::start(), FakeAzureDns::start());
    azure.endpoint(HUB, "acct-pe1", "one", "10.1.0.4").endpoint(HUB, "acct-pe2", "two", "10.2.0.4");
    azure.endpoint(HUB, "other-pe", "one", "10.1.0.5");
    let mut server = Setup::new(&(azure.settings(&[HUB], "views = false\n") + &fake.rule(".")), "").start();
    until_address(&server, "other.blob.core.windows.net", "10.1.0.5");
    let event = server.wait_for_first("discovery: endpoints disagree and views are off");
    let endpoints = event["endpoints"].as_str().unwrap();
    assert!(endpoints.contains("acct-pe1") && endpoints.contains("acct-pe2"), "{event}");
    server.ask(&format!("{ACCOUNT} A")).rcode("NXDOMAIN");
    server.stop();
}

#[test]
fn a_record_in_a_file_wins_over_a_discovered_one() {
    let (azure, fake) = (FakeAzure::start(), FakeAzureDns::start());
    azure.endpoint(HUB, "acct-pe", "one", "10.1.0.4").endpoint(HUB, "other-pe", "one", "10.1.0.5");
    let records = crate::common::cast::record(ACCOUNT, "A", &["10.9.9.9"]);
    let server = Setup::new(&(azure.settings(&[HUB], "") + &fake.rule(".")), &records).start();
    until_address(&server, "other.blob.core.windows.net", "10.1.0.5");
    server.ask(&format!("{ACCOUNT} A")).answers(&[format!("{ACCOUNT} 10 IN A 10.9.9.9")]);
    assert!(state_of(&server)["drift"].as_u64().unwrap() >= 1, "the difference is reported");
    server.stop();
}

#[test]
fn records_of_files_are_compared_with_endpoints_once_azure_was_read_even_where_nothing_changed_since_the_last_start() {
    let (azure, fake) = (FakeAzure::start(), FakeAzureDns::start());
    azure.endpoint(HUB, "acct-pe", "one", "10.1.0.4");
    let settings = azure.settings(&[HUB], "") + &fake.rule(".");
    let server = Setup::new(&settings, "").start();
    until_address(&server, ACCOUNT, "10.1.0.4");
    rounds(&azure, HUB, 2);
    let state = fs::read_to_string(server.path().join("discovered.toml")).unwrap();
    server.stop();
    let records = crate::common::cast::record("old.blob.core.windows.net", "A", &["10.9.9.9"]);
    let server = Setup::new(&settings, &records).with_file("discovered.toml", &state).start();
    let end = Instant::now() + SOON;
    while state_of(&server)["drift"] != 1 {
        assert!(Instant::now() < end, "no endpoint has 10.9.9.9: {}", state_of(&server));
        thread::sleep(Duration::from_millis(10));
    }
    server.stop();
}

#[test]
fn discover_prints_what_it_found_and_nothing_where_a_subscription_failed() {
    let azure = FakeAzure::start();
    azure.endpoint(HUB, "acct-pe", "one", "10.1.0.4").endpoint(SPOKE, "two-pe", "one", "10.1.0.5");
    let scratch = Scratch::new();
    scratch.write("pldns.toml", &azure.settings(&[HUB, SPOKE], ""));
    let ran = run(scratch.path(), &["discover", "-c", "pldns.toml"]);
    assert!(ran.code(0).out.contains("name = \"acct.privatelink.blob.core.windows.net\""), "{}", ran.out);
    assert!(ran.out.contains("10.1.0.5"));
    run(scratch.path(), &["discover", "-c", "pldns.toml", "--subscription", HUB, "-o", "found.toml"]).code(0);
    let found = fs::read_to_string(scratch.path().join("found.toml")).unwrap();
    assert!(found.contains("10.1.0.4") && !found.contains("10.1.0.5"), "{found}");
    azure.odd(SPOKE, Odd::Status(403, None), usize::MAX);
    let ran = run(scratch.path(), &["discover", "-c", "pldns.toml", "-o", "found.toml"]);
    ran.code(1).err_has(SPOKE).err_has("forbidden").err_has("nothing is written").err_lacks("secret-");
    assert_eq!(fs::read_to_string(scratch.path().join("found.toml")).unwrap(), found, "untouched");
    scratch.write("off.toml", "");
    run(scratch.path(), &["discover", "-c", "off.toml"]).code(1).err_has("--subscription ID names one");
}
