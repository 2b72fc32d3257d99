//! Who asks Azure, and of which subscriptions: workload identity, tokens that expire, management groups, and how many
//! requests many endpoints take.

use super::fake::{ACCOUNT, FakeAzure, HUB, Odd, SPOKE, state_of, until_address, until_gone};
use crate::common::{FakeAzureDns, SOON, Scratch, Setup};
use std::thread;
use std::time::{Duration, Instant};

const TENANT: &str = "99999999-9999-9999-9999-999999999999";
const CLIENT: &str = "88888888-8888-8888-8888-888888888888";

#[test]
fn workload_identity_changes_the_federated_token_for_an_access_token() {
    let (azure, fake, scratch) = (FakeAzure::start(), FakeAzureDns::start(), Scratch::new());
    azure.endpoint(HUB, "acct-pe", "hub", "10.0.0.4");
    azure.state().token_lifetime = 0;
    let file = scratch.write("azure-identity-token", "federated-1\n");
    let settings = azure.settings(&[HUB], "identity = \"workload\"\n") + &fake.rule(".");
    let server = Setup::new(&settings, "")
        .with_environment("AZURE_TENANT_ID", TENANT)
        .with_environment("AZURE_CLIENT_ID", CLIENT)
        .with_environment("AZURE_FEDERATED_TOKEN_FILE", &file)
        .with_environment("AZURE_AUTHORITY_HOST", &format!("http://{}/", azure.address))
        .start();
    until_address(&server, ACCOUNT, "10.0.0.4");
    let (path, form) = azure.state().forms[0].clone();
    assert_eq!(path, format!("/{TENANT}/oauth2/v2.0/token"));
    for part in [
        &format!("client_id={CLIENT}"),
        "scope=https%3A%2F%2Fmanagement.azure.com%2F.default",
        "grant_type=client_credentials",
        "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer",
        "client_assertion=federated-1",
    ] {
        assert!(form.split('&').any(|it| it == part), "{part} is not in {form}");
    }
    // Kubernetes replaces the file; the next token is by what it has then.
    scratch.write("azure-identity-token", "federated-2\n");
    let end = Instant::now() + SOON;
    while !azure.state().forms.iter().any(|(_, form)| form.contains("client_assertion=federated-2")) {
        assert!(Instant::now() < end, "the new federated token is never used");
        thread::sleep(Duration::from_millis(10));
    }
    let asked: Vec<String> = azure.state().requests.iter().map(|(path, _)| path.clone()).collect();
    assert!(!asked.iter().any(|path| path.contains("/metadata/identity")), "the machine's identity was asked");
    let log: String = server.events().iter().map(ToString::to_string).collect();
    assert!(!log.contains("secret-") && !log.contains("federated-"), "a token in the log");
    server.stop();
}

#[test]
fn a_token_is_renewed_when_it_expires_and_every_request_has_the_newest() {
    let (azure, fake) = (FakeAzure::start(), FakeAzureDns::start());
    azure.endpoint(HUB, "acct-pe", "hub", "10.0.0.4");
    azure.state().token_lifetime = 0;
    let server = Setup::new(&(azure.settings(&[HUB], "") + &fake.rule(".")), "").start();
    until_address(&server, ACCOUNT, "10.0.0.4");
    let mut newest = 0;
    for (path, authorization) in &azure.state().requests {
        if path.starts_with("/metadata/identity") {
            newest += 1;
        } else if path.starts_with("/subscriptions") {
            assert_eq!(*authorization, format!("Bearer secret-{newest}"), "{path}");
        }
    }
    assert!(newest >= 4, "a token for each list: {newest}");
    server.stop();
}

#[test]
fn a_workload_identity_that_is_not_set_up_is_named_and_no_secret_leaves_for_a_plain_host() {
    let cases = [
        (vec![], "AZURE_CLIENT_ID"),
        (vec![("AZURE_CLIENT_ID", CLIENT)], "AZURE_TENANT_ID"),
        (
            vec![
                ("AZURE_CLIENT_ID", CLIENT),
                ("AZURE_TENANT_ID", TENANT),
                ("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token"),
            ],
            "cannot read the federated token /nowhere/token",
        ),
        (
            vec![
                ("AZURE_CLIENT_ID", CLIENT),
                ("AZURE_TENANT_ID", TENANT),
                ("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token"),
                ("AZURE_AUTHORITY_HOST", "http://login.example/"),
            ],
            "AZURE_AUTHORITY_HOST must begin with https://",
        ),
    ];
    for (environment, expected) in cases {
        let (azure, fake) = (FakeAzure::start(), FakeAzureDns::start());
        let settings = azure.settings(&[HUB], "identity = \"workload\"\n") + &fake.rule(".");
        let setup = environment
            .iter()
            .fold(Setup::new(&settings, ""), |setup, (name, value)| setup.with_environment(name, value));
        let mut server = setup.start();
        // It may fail before the start is over.
        let event = server.wait_for_first("discovery failed; keeping its records");
        assert_eq!(event["reason"], "token", "{event}");
        assert!(event["error"].as_str().unwrap().contains(expected), "{event}");
        assert_eq!(azure.requests("/subscriptions"), 0);
        server.stop();
    }
}

#[test]
fn subscriptions_of_a_management_group_come_and_go_with_it() {
    let (azure, fake) = (FakeAzure::start(), FakeAzureDns::start());
    let third = "33333333-3333-3333-3333-333333333333";
    azure.endpoint(HUB, "one-pe", "hub", "10.0.0.4").endpoint(SPOKE, "two-pe", "hub", "10.0.0.5");
    azure.endpoint(third, "three-pe", "hub", "10.0.0.6");
    // More than a page of them.
    azure.state().groups.insert("corp".to_owned(), vec![HUB.to_owned(), SPOKE.to_owned()]);
    let settings = azure.settings(&[], "management_groups = [\"corp\"]\ngrace = \"1h\"\n") + &fake.rule(".");
    let mut server = Setup::new(&settings, "").start();
    until_address(&server, "one.blob.core.windows.net", "10.0.0.4");
    until_address(&server, "two.blob.core.windows.net", "10.0.0.5");
    assert!(azure.requests("/managementGroups/corp/descendants") >= 2, "its pages");
    azure.state().groups.get_mut("corp").unwrap().push(third.to_owned());
    until_address(&server, "three.blob.core.windows.net", "10.0.0.6");
    // A group that cannot be read, or a page of it, keeps its subscriptions, and those are read on.
    azure.odd("&page=2", Odd::Status(403, None), usize::MAX);
    let event = server.wait_for("discovery failed; keeping its records");
    assert_eq!((&event["of"], &event["reason"]), (&"corp".into(), &"forbidden".into()), "{event}");
    azure.endpoint(third, "four-pe", "hub", "10.0.0.7");
    until_address(&server, "four.blob.core.windows.net", "10.0.0.7");
    assert_eq!(state_of(&server)["state"], "failing");
    azure.state().odd.clear();
    server.wait_for("discovery works again");
    // What moved elsewhere is not this group's: its records leave at once, without grace.
    azure.state().groups.get_mut("corp").unwrap().retain(|id| id != SPOKE);
    until_gone(&server, "two.blob.core.windows.net");
    server.ask("three.blob.core.windows.net A").rcode("NOERROR").aa();
    server.stop();
}

#[test]
fn six_hundred_endpoints_in_five_subscriptions_take_fewer_than_250_requests() {
    let (azure, fake) = (FakeAzure::start(), FakeAzureDns::start());
    azure.state().page = 50;
    let subscriptions: Vec<String> = (1..=5).map(|digit| HUB.replace('1', &digit.to_string())).collect();
    for (at, subscription) in subscriptions.iter().enumerate() {
        for number in 0..120 {
            azure.endpoint(subscription, &format!("st{at}x{number}-pe"), "hub", &format!("10.{at}.0.{number}"));
        }
    }
    let ids: Vec<&str> = subscriptions.iter().map(String::as_str).collect();
    let settings = azure.settings(&ids, "").replace("interval = \"50ms\"", "interval = \"1h\"") + &fake.rule(".");
    let server = Setup::new(&settings, "").start();
    until_address(&server, "st4x119.blob.core.windows.net", "10.4.0.119");
    let end = Instant::now() + SOON;
    while azure.requests("privateDnsZoneGroups") < 20 {
        assert!(Instant::now() < end, "{} groups", azure.requests("privateDnsZoneGroups"));
        thread::sleep(Duration::from_millis(10));
    }
    // Pages of 50, far smaller than Azure's: 3 for endpoints and for interfaces, one for each other list.
    assert_eq!(azure.requests("/subscriptions/"), 5 * (3 + 3 + 1 + 1 + 1) + 20);
    assert!(azure.state().requests.len() < 250, "{} requests", azure.state().requests.len());
    server.stop();
}
