//! Live discovery against a fake instance metadata service and Azure Resource Manager, over real HTTP.

use crate::common::ask::Got;
use crate::common::pldns::run;
use crate::common::{Answer, FakeAzureDns, Pldns, Query, Scratch, Setup};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const HUB: &str = "11111111-1111-1111-1111-111111111111";
const SPOKE: &str = "22222222-2222-2222-2222-222222222222";
const LONG: Duration = Duration::from_secs(30);
const ACCOUNT: &str = "acct.blob.core.windows.net";

/// An answer in the place of the usual one.
#[derive(Clone)]
enum Odd {
    /// This status with this Retry-After.
    Status(u16, Option<u32>),
    /// The head says more than comes.
    Cut,
    /// A next page that is the same page.
    Repeated,
    /// A next page at another host.
    Elsewhere(String),
}

#[derive(Default)]
struct Azure {
    /// Endpoints by subscription: name, network, address, connection state.
    endpoints: HashMap<String, Vec<(String, String, String, String)>>,
    /// Prefix and peers of networks, by name; all are of the hub.
    networks: HashMap<String, (String, Vec<String>)>,
    /// What paths that contain this are answered with, that many times.
    odd: Vec<(String, Odd, usize)>,
    requests: Vec<(String, String)>,
    tokens: usize,
    token_lifetime: u32,
    page: usize,
    here: String,
}

struct FakeAzure {
    state: Arc<Mutex<Azure>>,
    address: SocketAddr,
}

impl FakeAzure {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(Azure { token_lifetime: 3600, page: 2, ..Azure::default() }));
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                thread::spawn(move || serve(stream, &shared, address));
            }
        });
        Self { state, address }
    }

    fn state(&self) -> MutexGuard<'_, Azure> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn endpoint(&self, subscription: &str, name: &str, network: &str, address: &str) -> &Self {
        self.endpoint_in(subscription, name, network, address, "Approved")
    }

    fn endpoint_in(&self, subscription: &str, name: &str, network: &str, address: &str, state: &str) -> &Self {
        let endpoint = (name.to_owned(), network.to_owned(), address.to_owned(), state.to_owned());
        self.state().endpoints.entry(subscription.to_owned()).or_default().push(endpoint);
        self
    }

    fn remove(&self, subscription: &str, name: &str) {
        self.state().endpoints.get_mut(subscription).unwrap().retain(|(known, ..)| known != name);
    }

    fn network(&self, name: &str, prefix: &str, peers: &[&str]) -> &Self {
        let peers = peers.iter().map(|peer| (*peer).to_owned()).collect();
        self.state().networks.insert(name.to_owned(), (prefix.to_owned(), peers));
        self
    }

    fn odd(&self, path: &str, odd: Odd, times: usize) -> &Self {
        self.state().odd.push((path.to_owned(), odd, times));
        self
    }

    fn requests(&self, path: &str) -> usize {
        self.state().requests.iter().filter(|(asked, _)| asked.contains(path)).count()
    }

    /// Settings that discover these subscriptions here.
    fn settings(&self, subscriptions: &[&str], more: &str) -> String {
        let (base, list) = (format!("http://{}", self.address), json!(subscriptions).to_string());
        format!(
            "[listen]\nadmin = \"\"\nhealth = \"127.0.0.1:0\"\ndrain = \"0s\"\n[azure.discover]\nsubscriptions = {list}\n\
             interval = \"50ms\"\nresource_manager = \"{base}\"\nmetadata_service = \"{base}\"\nstate = \"discovered.toml\"\n{more}\n"
        )
    }
}

fn network_id(name: &str) -> String {
    format!("/subscriptions/{HUB}/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/{name}")
}

fn serve(stream: TcpStream, state: &Mutex<Azure>, address: SocketAddr) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let path = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
        let (mut authorization, mut length) = (String::new(), 0);
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) <= 2 {
                break;
            }
            if let Some((name, value)) = header.split_once(':') {
                match name.to_ascii_lowercase().as_str() {
                    "authorization" => value.trim().clone_into(&mut authorization),
                    "content-length" => length = value.trim().parse().unwrap(),
                    _ => {}
                }
            }
        }
        reader.by_ref().take(length).read_to_end(&mut Vec::new()).unwrap();
        let mut azure = state.lock().unwrap_or_else(PoisonError::into_inner);
        azure.requests.push((path.clone(), authorization));
        let odd = azure.odd.iter_mut().find(|(part, _, left)| path.contains(part.as_str()) && *left > 0);
        let odd = odd.map(|(_, odd, left)| {
            *left -= 1;
            odd.clone()
        });
        let (mut status, mut extra, mut body, mut cut) = (200, String::new(), answer(&mut azure, &path, address), 0);
        drop(azure);
        match odd {
            Some(Odd::Status(code, retry)) => {
                status = code;
                body = json!({ "error": { "code": "Odd", "message": "as scripted" } });
                if let Some(seconds) = retry {
                    let _ = write!(extra, "Retry-After: {seconds}\r\n");
                }
            }
            Some(Odd::Cut) => cut = 100,
            Some(Odd::Repeated) => body["nextLink"] = json!(format!("http://{address}{path}")),
            Some(Odd::Elsewhere(host)) => body["nextLink"] = json!(format!("http://{host}{path}")),
            None => {}
        }
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{extra}Content-Length: {}\r\n\r\n",
            body.len() + cut
        );
        if stream.write_all((head + &body).as_bytes()).is_err() || cut > 0 {
            return;
        }
    }
}

/// What Azure answers to a path.
fn answer(azure: &mut Azure, path: &str, address: SocketAddr) -> Value {
    if path.starts_with("/metadata/identity") {
        azure.tokens += 1;
        let (number, lifetime) = (azure.tokens, azure.token_lifetime);
        return json!({ "access_token": format!("secret-{number}"), "expires_in": lifetime.to_string(), "token_type": "Bearer" });
    }
    if path.starts_with("/metadata/instance") {
        return json!({
            "compute": { "location": "westeurope" },
            "network": { "interface": [{ "ipv4": { "ipAddress": [{ "privateIpAddress": azure.here, "publicIpAddress": "" }] } }] },
        });
    }
    let subscription = path.split('/').nth(2).unwrap_or_default().to_owned();
    let id = |kind: &str, name: &str| {
        format!("/subscriptions/{subscription}/resourceGroups/rg/providers/Microsoft.Network/{kind}/{name}")
    };
    let endpoints = azure.endpoints.get(&subscription).cloned().unwrap_or_default();
    let all: Vec<Value> = if path.contains("/privateEndpoints?") {
        let of = |(name, network, _, state): &(String, String, String, String)| {
            let service = name.split('-').next().unwrap();
            json!({
                "id": id("privateEndpoints", name), "name": name, "location": "westeurope",
                "type": "Microsoft.Network/privateEndpoints",
                "properties": {
                    "provisioningState": "Succeeded",
                    "subnet": { "id": format!("{}/subnets/pe", network_id(network)) },
                    "networkInterfaces": [{ "id": id("networkInterfaces", name) }],
                    "customDnsConfigs": [],
                    "privateLinkServiceConnections": [{ "name": name, "properties": {
                        "privateLinkServiceId": format!("/subscriptions/{subscription}/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/{service}"),
                        "groupIds": ["blob"],
                        "privateLinkServiceConnectionState": { "status": state, "description": "", "actionsRequired": "None" },
                    }}],
                },
            })
        };
        endpoints.iter().map(of).collect()
    } else if path.contains("/networkInterfaces?") {
        let of = |(name, _, address, state): &(String, String, String, String)| {
            let service = name.split('-').next().unwrap();
            let fqdns =
                if state == "Approved" { json!([format!("{service}.blob.core.windows.net")]) } else { json!([]) };
            json!({
                "id": id("networkInterfaces", name), "name": name, "location": "westeurope",
                "type": "Microsoft.Network/networkInterfaces",
                "properties": {
                    "privateEndpoint": { "id": id("privateEndpoints", name) },
                    "ipConfigurations": [{ "name": "c", "properties": {
                        "privateIPAddress": address, "privateIPAddressVersion": "IPv4", "primary": true,
                        "privateLinkConnectionProperties": { "groupId": "blob", "requiredMemberName": "blob", "fqdns": fqdns },
                    }}],
                },
            })
        };
        endpoints.iter().map(of).collect()
    } else if path.contains("/virtualNetworks?") && subscription == HUB {
        let of = |(name, (prefix, peers)): (&String, &(String, Vec<String>))| {
            let peerings: Vec<Value> = peers
                .iter()
                .map(|peer| json!({ "properties": { "peeringState": "Connected", "remoteVirtualNetwork": { "id": network_id(peer) } } }))
                .collect();
            json!({
                "id": network_id(name), "name": name, "location": "westeurope",
                "properties": { "addressSpace": { "addressPrefixes": [prefix] }, "virtualNetworkPeerings": peerings },
            })
        };
        azure.networks.iter().map(of).collect()
    } else {
        Vec::new()
    };
    // Pages of a few objects each.
    let start: usize = path.split("page=").nth(1).and_then(|page| page.parse().ok()).unwrap_or(0);
    let end = (start + azure.page).min(all.len());
    let mut page = json!({ "value": all.get(start..end).unwrap_or_default() });
    if end < all.len() {
        let base = path.split("&page=").next().unwrap();
        page["nextLink"] = json!(format!("http://{address}{base}&page={end}"));
    }
    page
}

/// Asks until the answer is as expected.
#[track_caller]
fn until(server: &Pldns, query: &Query, good: impl Fn(&Got) -> bool) {
    let end = Instant::now() + LONG;
    loop {
        let got = query.ask_at(server.address());
        if good(&got) {
            return;
        }
        assert!(Instant::now() < end, "never as expected; last: {}", got.message);
        thread::sleep(Duration::from_millis(20));
    }
}

#[track_caller]
fn until_address(server: &Pldns, name: &str, address: &str) {
    let line = format!("{name} 10 IN A {address}");
    let expected = crate::common::dns::record(&line);
    until(server, &Query::new(&format!("{name} A")), |got| {
        got.message.answers.iter().any(|record| record.is(&expected))
    });
}

#[track_caller]
fn until_gone(server: &Pldns, name: &str) {
    until(server, &Query::new(&format!("{name} A")), |got| got.message.answers.is_empty());
}

/// Waits until the fake was asked for endpoints that often from now on: that many rounds went by.
#[track_caller]
fn rounds(azure: &FakeAzure, subscription: &str, count: usize) {
    let path = format!("/subscriptions/{subscription}/providers/Microsoft.Network/privateEndpoints");
    let (start, end) = (azure.requests(&path), Instant::now() + LONG);
    while azure.requests(&path) < start + count {
        assert!(Instant::now() < end, "no {count} rounds");
        thread::sleep(Duration::from_millis(10));
    }
}

fn state_of(server: &Pldns) -> Value {
    // Discovery never makes a server unready.
    page(server.health_address(), "/readyz")["discover"].clone()
}

/// A page as JSON.
fn page(address: SocketAddr, path: &str) -> Value {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

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
        ("forbidden", "privateEndpoints", Odd::Status(403, None)),
        ("server", "networkInterfaces", Odd::Status(500, Some(0))),
        ("throttled", "virtualNetworks", Odd::Status(429, Some(600))),
        ("answer", "privateEndpoints", Odd::Repeated),
        ("answer", "privateEndpoints", Odd::Elsewhere("127.0.0.1:9".to_owned())),
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
        let event = server.wait_for("discovery failed; keeping its records", LONG);
        assert_eq!(event["reason"], reason, "{event}");
        server.ask(&format!("{ACCOUNT} A")).answers(&[format!("{ACCOUNT} 10 IN A 10.0.0.4")]);
        let state = state_of(&server);
        assert_eq!((&state["state"], &state["reason"]), (&"failing".into(), &Value::Null), "no texts for everybody");
        azure.state().odd.clear();
        server.wait_for("discovery works again", LONG);
        until_gone(&server, ACCOUNT);
        let log: String = server.events().iter().map(ToString::to_string).collect();
        assert!(!log.contains("secret-"), "a token in the log");
        server.stop();
    }
}

#[test]
fn bodies_that_end_early_and_moments_of_throttling_are_repeated_within_a_round() {
    let (azure, fake) = (FakeAzure::start(), FakeAzureDns::start());
    azure.endpoint(HUB, "acct-pe", "hub", "10.0.0.4");
    azure.odd("privateEndpoints", Odd::Cut, 1);
    azure.odd("networkInterfaces", Odd::Status(429, Some(1)), 1);
    azure.odd("virtualNetworks", Odd::Status(401, None), 1);
    let server = Setup::new(
        &(azure.settings(&[HUB], "interval = \"1h\"\n").replace("interval = \"50ms\"\n", "") + &fake.rule(".")),
        "",
    )
    .start();
    until_address(&server, ACCOUNT, "10.0.0.4");
    assert_eq!(azure.state().tokens, 2, "another token after 401");
    assert_eq!(azure.requests("privateEndpoints"), 2);
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
    server.wait_for("discovery failed; keeping its records", LONG);
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
    let end = Instant::now() + LONG;
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
    let events = server.events();
    let said = events
        .iter()
        .filter_map(|event| event["message"].as_str())
        .any(|text| text.contains("discovered.toml is ignored"));
    assert!(said, "{events:#?}");
    azure.state().odd.clear();
    server.wait_for("discovery", LONG);
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
    let event = server.wait_for("discovery: endpoints disagree and views are off", LONG);
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
