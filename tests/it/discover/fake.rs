//! A fake instance metadata service, Microsoft Entra ID and Azure Resource Manager over real HTTP.

use crate::common::ask::Got;
use crate::common::http::request;
use crate::common::{Pldns, Query, SOON};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub(super) const HUB: &str = "11111111-1111-1111-1111-111111111111";
pub(super) const SPOKE: &str = "22222222-2222-2222-2222-222222222222";
pub(super) const ACCOUNT: &str = "acct.blob.core.windows.net";

/// An answer in the place of the usual one.
#[derive(Clone)]
pub(super) enum Odd {
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
pub(super) struct Azure {
    /// Endpoints by subscription: name, network, address, connection state.
    pub(super) endpoints: HashMap<String, Vec<(String, String, String, String)>>,
    /// Prefix and peers of networks, by name; all are of the hub.
    pub(super) networks: HashMap<String, (String, Vec<String>)>,
    /// What paths that contain this are answered with, that many times.
    pub(super) odd: Vec<(String, Odd, usize)>,
    /// Path and authorization of every request.
    pub(super) requests: Vec<(String, String)>,
    /// Path and body of every form.
    pub(super) forms: Vec<(String, String)>,
    /// Subscriptions by management group.
    pub(super) groups: HashMap<String, Vec<String>>,
    /// The zone of an endpoint's zone group, by the endpoint's name.
    pub(super) zones: HashMap<String, String>,
    pub(super) tokens: usize,
    pub(super) token_lifetime: u32,
    pub(super) page: usize,
    pub(super) here: String,
}

pub(super) struct FakeAzure {
    state: Arc<Mutex<Azure>>,
    pub(super) address: SocketAddr,
}

impl FakeAzure {
    pub(super) fn start() -> Self {
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

    pub(super) fn state(&self) -> MutexGuard<'_, Azure> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn endpoint(&self, subscription: &str, name: &str, network: &str, address: &str) -> &Self {
        self.endpoint_in(subscription, name, network, address, "Approved")
    }

    pub(super) fn endpoint_in(
        &self,
        subscription: &str,
        name: &str,
        network: &str,
        address: &str,
        state: &str,
    ) -> &Self {
        let endpoint = (name.to_owned(), network.to_owned(), address.to_owned(), state.to_owned());
        self.state().endpoints.entry(subscription.to_owned()).or_default().push(endpoint);
        self
    }

    pub(super) fn remove(&self, subscription: &str, name: &str) {
        self.state().endpoints.get_mut(subscription).unwrap().retain(|(known, ..)| known != name);
    }

    pub(super) fn network(&self, name: &str, prefix: &str, peers: &[&str]) -> &Self {
        let peers = peers.iter().map(|peer| (*peer).to_owned()).collect();
        self.state().networks.insert(name.to_owned(), (prefix.to_owned(), peers));
        self
    }

    pub(super) fn odd(&self, path: &str, odd: Odd, times: usize) -> &Self {
        self.state().odd.push((path.to_owned(), odd, times));
        self
    }

    pub(super) fn requests(&self, path: &str) -> usize {
        self.state().requests.iter().filter(|(asked, _)| asked.contains(path)).count()
    }

    /// Settings that discover these subscriptions here.
    pub(super) fn settings(&self, subscriptions: &[&str], more: &str) -> String {
        let (base, list) = (format!("http://{}", self.address), json!(subscriptions).to_string());
        format!(
            "[listen]\nadmin = \"\"\nhealth = \"127.0.0.1:0\"\ndrain = \"0s\"\n[azure.discover]\nsubscriptions = {list}\n\
             interval = \"50ms\"\nresource_manager = \"{base}\"\nmetadata_service = \"{base}\"\nstate = \"discovered.toml\"\n{more}\n"
        )
    }
}

pub(super) fn network_id(name: &str) -> String {
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
        let mut form = String::new();
        reader.by_ref().take(length).read_to_string(&mut form).unwrap();
        let mut azure = state.lock().unwrap_or_else(PoisonError::into_inner);
        azure.requests.push((path.clone(), authorization));
        if length > 0 {
            azure.forms.push((path.clone(), form));
        }
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
    if path.starts_with("/metadata/identity") || path.contains("/oauth2/v2.0/token") {
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
    } else if path.contains("/managementGroups/") {
        let group = path.split('/').nth(4).unwrap();
        let of = |id: &String| json!({ "id": format!("/subscriptions/{id}"), "type": "/subscriptions", "name": id });
        let mut all = vec![
            json!({ "id": "/providers/Microsoft.Management/managementGroups/x", "type": "Microsoft.Management/managementGroups", "name": "x" }),
        ];
        all.extend(azure.groups.get(group).into_iter().flatten().map(of));
        all
    } else if path.contains("/privateDnsZoneGroups?") {
        let zone = azure.zones.get(path.split('/').nth(8).unwrap());
        let of = |zone: &String| {
            json!({ "name": "default", "properties": { "privateDnsZoneConfigs": [{ "name": "c", "properties": {
                "privateDnsZoneId": id("privateDnsZones", zone), "recordSets": [],
            }}]}})
        };
        zone.map(of).into_iter().collect()
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
pub(super) fn until(server: &Pldns, query: &Query, good: impl Fn(&Got) -> bool) {
    let end = Instant::now() + SOON;
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
pub(super) fn until_address(server: &Pldns, name: &str, address: &str) {
    let line = format!("{name} 10 IN A {address}");
    let expected = crate::common::dns::record(&line);
    until(server, &Query::new(&format!("{name} A")), |got| {
        got.message.answers.iter().any(|record| record.is(&expected))
    });
}

#[track_caller]
pub(super) fn until_gone(server: &Pldns, name: &str) {
    until(server, &Query::new(&format!("{name} A")), |got| got.message.answers.is_empty());
}

/// Waits until the fake was asked for endpoints that often from now on: that many rounds went by.
#[track_caller]
pub(super) fn rounds(azure: &FakeAzure, subscription: &str, count: usize) {
    let path = format!("/subscriptions/{subscription}/providers/Microsoft.Network/privateEndpoints");
    let (start, end) = (azure.requests(&path), Instant::now() + SOON);
    while azure.requests(&path) < start + count {
        assert!(Instant::now() < end, "no {count} rounds");
        thread::sleep(Duration::from_millis(10));
    }
}

pub(super) fn state_of(server: &Pldns) -> Value {
    // Discovery never makes a server unready.
    page(server.health_address(), "/readyz")["discover"].clone()
}

/// A page as JSON.
pub(super) fn page(address: SocketAddr, path: &str) -> Value {
    let reply = request(address, "GET", path, &[]);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}
