//! What is known of all endpoints, from round to round: grace, views, and the records that follow.

mod file;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::drift::{Drift, DriftKind};
use super::estate::{Connection, Endpoint, EndpointRecord, Estate, contested_wildcards};
use super::object::Network;

/// Where the server itself is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BuiltIn {
    /// The id of its virtual network, in lower case; "" where it is not known.
    pub(super) network: String,
    /// Its region; "" where it is not known.
    pub(super) region: String,
}

/// An endpoint and whether it is still there.
#[derive(Debug, Clone)]
struct Known {
    endpoint: Endpoint,
    /// Since when complete rounds no longer list it, or list it without an approved connection.
    gone_since: Option<Instant>,
}

/// All that is known.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    endpoints: BTreeMap<String, Known>,
    networks: BTreeMap<String, Network>,
    /// Networks by the subscription that listed them.
    network_owners: BTreeMap<String, BTreeSet<String>>,
    here: BuiltIn,
    drift: BTreeMap<String, Vec<Drift>>,
    /// Subscriptions that the last round did not read: their grace does not run.
    unread: BTreeSet<String>,
    /// Zone groups with a wrong zone.
    zone_groups: Vec<Drift>,
    last_round: Option<Instant>,
}

/// A record that discovery adds to the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiscoveredRecord {
    /// The owner name, without a dot at its end.
    pub name: String,
    /// `A` or `AAAA`.
    pub record_type: String,
    /// Addresses.
    pub data: Vec<String>,
    /// Networks whose clients see it; empty for everybody.
    pub clients: Vec<IpNet>,
    /// The resource id of the endpoint, in lower case.
    pub endpoint: String,
}

/// What discovery adds to the table, and what does not fit together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovered {
    /// The records, sorted.
    pub records: Vec<DiscoveredRecord>,
    /// Names that several endpoints have although views are off: name and endpoints.
    pub conflicts: Vec<(String, Vec<String>)>,
}

impl State {
    /// Takes what a round found in the subscriptions that were read completely; `seen` are all that the settings name now:
    /// what belongs to others is dropped.
    pub(super) fn take(
        &mut self,
        estates: BTreeMap<String, Estate>,
        seen: &BTreeSet<String>,
        networks: &[String],
        now: Instant,
    ) {
        self.endpoints.retain(|_, known| seen.contains(&known.endpoint.subscription));
        let passed = self.last_round.replace(now).map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.unread = seen.iter().filter(|it| !estates.contains_key(*it)).cloned().collect();
        for known in self.endpoints.values_mut().filter(|known| self.unread.contains(&known.endpoint.subscription)) {
            known.gone_since = known.gone_since.map(|since| since + passed);
        }
        self.drift.retain(|subscription, _| seen.contains(subscription));
        let mut owned: BTreeSet<String> = BTreeSet::new();
        for (subscription, estate) in estates {
            let is_wanted = |endpoint: &Endpoint| networks.is_empty() || networks.contains(&endpoint.network);
            let listed: BTreeMap<String, Endpoint> =
                estate.endpoints.iter().filter(|it| is_wanted(it)).map(|it| (it.id.clone(), it.clone())).collect();
            self.drift.insert(subscription.clone(), drift_of(&estate, &listed));
            for known in self.endpoints.values_mut().filter(|known| known.endpoint.subscription == subscription) {
                let is_there = listed.get(&known.endpoint.id).is_some_and(|it| it.connection == Connection::Approved);
                known.gone_since = if is_there { None } else { Some(known.gone_since.unwrap_or(now)) };
            }
            for (id, endpoint) in listed.into_iter().filter(|(_, it)| it.connection == Connection::Approved) {
                // An endpoint that lists nothing for a moment (it is being updated) keeps what it had.
                let names_none = endpoint.records.is_empty();
                let before =
                    self.endpoints.get(&id).filter(|known| names_none && known.endpoint.service == endpoint.service);
                let records = before.map_or(endpoint.records, |known| known.endpoint.records.clone());
                self.endpoints.insert(id, Known { endpoint: Endpoint { records, ..endpoint }, gone_since: None });
            }
            let ids: BTreeSet<String> = estate.networks.keys().cloned().collect();
            if let Some(before) = self.network_owners.insert(subscription, ids.clone()) {
                before.difference(&ids).for_each(|id| drop(self.networks.remove(id)));
            }
            owned.extend(ids);
            self.networks.extend(estate.networks);
        }
        self.network_owners.retain(|subscription, _| seen.contains(subscription));
    }

    /// Notes where the server is, by its addresses and region.
    pub(super) fn locate(&mut self, addresses: &[std::net::IpAddr], region: Option<&str>) {
        let holds =
            |network: &Network| network.prefixes.iter().any(|prefix| addresses.iter().any(|it| prefix.contains(it)));
        if let Some((id, network)) = self.networks.iter().find(|(_, network)| holds(network)) {
            self.here = BuiltIn { network: id.clone(), region: network.region.clone() };
        }
        if let Some(region) = region {
            region.clone_into(&mut self.here.region);
        }
    }

    /// Drops endpoints that are gone for longer than `grace`.
    pub(super) fn expire(&mut self, grace: Duration, now: Instant) {
        self.endpoints.retain(|_, known| {
            let is_over = |since| now.saturating_duration_since(since) >= grace;
            self.unread.contains(&known.endpoint.subscription) || !known.gone_since.is_some_and(is_over)
        });
    }

    /// When the next endpoint leaves.
    pub(super) fn next_expiry(&self, grace: Duration) -> Option<Instant> {
        let gone = self.endpoints.values().filter(|known| !self.unread.contains(&known.endpoint.subscription));
        gone.filter_map(|known| known.gone_since).map(|since| since + grace).min()
    }

    /// Endpoints known, those in their grace included.
    pub(super) fn endpoint_count(&self) -> usize {
        self.endpoints.len()
    }

    /// What its endpoints take, bytes, by subscription.
    pub(super) fn bytes(&self) -> BTreeMap<String, u64> {
        let mut bytes = BTreeMap::new();
        for Known { endpoint, .. } in self.endpoints.values() {
            *bytes.entry(endpoint.subscription.clone()).or_default() += endpoint.bytes();
        }
        bytes
    }

    /// The subscriptions of all that is known.
    pub(super) fn subscriptions(&self) -> BTreeSet<String> {
        self.endpoints.values().map(|known| known.endpoint.subscription.clone()).collect()
    }

    /// Approved endpoints, those of subscriptions that cannot be read now included.
    pub(super) fn approved(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.values().filter(|known| known.gone_since.is_none()).map(|known| &known.endpoint)
    }

    /// Approved endpoints that the last round listed.
    pub(super) fn listed(&self) -> impl Iterator<Item = &Endpoint> {
        self.approved().filter(|endpoint| !self.unread.contains(&endpoint.subscription))
    }

    /// Notes zone groups with a wrong zone, in place of those noted before.
    pub(super) fn note_zone_groups(&mut self, wrong: Vec<Drift>) {
        self.zone_groups = wrong;
    }

    /// What does not fit together in Azure itself.
    pub(super) fn drift(&self) -> impl Iterator<Item = Drift> {
        let zones = self.drift.values().flatten().filter(|drift| match drift.kind {
            // Another network's empty zone shadows nothing here.
            DriftKind::EmptyLinkedZone => drift.networks.contains(&self.here.network),
            _ => true,
        });
        zones.chain(&self.zone_groups).cloned()
    }

    /// The records of all endpoints.
    pub(super) fn records(&self, views: bool) -> Discovered {
        let contested = contested_wildcards(self.endpoints.values().map(|known| &known.endpoint));
        let mut claims: BTreeMap<(&str, &str), Vec<(&Known, &EndpointRecord)>> = BTreeMap::new();
        for known in self.endpoints.values() {
            for record in known.endpoint.records.iter().filter(|record| !contested.contains(&record.name)) {
                claims.entry((&record.name, &record.record_type)).or_default().push((known, record));
            }
        }
        let mut discovered = Discovered::default();
        for ((name, record_type), mut claims) in claims {
            // What is gone yields at once to what is there: an endpoint that was made again has another address.
            if claims.iter().any(|(known, _)| known.gone_since.is_none()) {
                claims.retain(|(known, _)| known.gone_since.is_none());
            }
            let make = |(known, record): (&Known, &EndpointRecord), clients| DiscoveredRecord {
                name: name.to_owned(),
                record_type: record_type.to_owned(),
                data: record.data.clone(),
                clients,
                endpoint: known.endpoint.id.clone(),
            };
            let Some(&first) = claims.first() else { continue };
            if claims.iter().all(|(_, record)| record.data == first.1.data) {
                discovered.records.push(make(first, Vec::new()));
            } else if !views {
                let endpoints = claims.iter().map(|(known, _)| known.endpoint.id.clone()).collect();
                discovered.conflicts.push((format!("{name} {record_type}"), endpoints));
            } else {
                let default = self.default_of(&claims);
                discovered.records.push(make(default, Vec::new()));
                for (claim, clients) in self.views_of(&claims, default) {
                    discovered.records.push(make(claim, clients));
                }
            }
        }
        discovered.records.sort();
        discovered
    }

    /// Whose address clients of no known network get: the endpoint of the server's own network, else of its region, else
    /// the first by resource id.
    fn default_of<'k>(&self, claims: &[(&'k Known, &'k EndpointRecord)]) -> (&'k Known, &'k EndpointRecord) {
        let of_network = claims.iter().find(|(known, _)| known.endpoint.network == self.here.network);
        let of_region = || claims.iter().find(|(known, _)| known.endpoint.region == self.here.region);
        *of_network.or_else(of_region).unwrap_or(&claims[0])
    }

    /// The other claims with the networks whose clients get their address: an endpoint's own network, then networks with
    /// a connected peering that have none of their own.
    fn views_of<'k>(
        &self,
        claims: &[(&'k Known, &'k EndpointRecord)],
        default: (&'k Known, &'k EndpointRecord),
    ) -> Vec<((&'k Known, &'k EndpointRecord), Vec<IpNet>)> {
        let mut clients: BTreeMap<usize, BTreeSet<IpNet>> = BTreeMap::new();
        let is_default = |at: usize| claims[at].1.data == default.1.data;
        for (id, network) in &self.networks {
            let own = claims.iter().position(|(known, _)| known.endpoint.network == *id);
            let is_peer = |(known, _): &(&Known, &EndpointRecord)| network.peers.contains(&known.endpoint.network);
            // Of several peers, the one that gives what everybody gets needs no view.
            let peers = || {
                let all = claims.iter().enumerate().filter(|(_, claim)| is_peer(claim)).map(|(at, _)| at);
                let all: Vec<_> = all.collect();
                all.iter().copied().find(|at| is_default(*at)).or_else(|| all.first().copied())
            };
            let Some(at) = own.or_else(peers) else { continue };
            clients.entry(at).or_default().extend(network.prefixes.iter().copied());
        }
        // A view for the default's networks as well where one of them lies inside of another view's.
        let others: BTreeSet<IpNet> = clients
            .iter()
            .filter(|(at, _)| !is_default(**at))
            .flat_map(|(_, prefixes)| prefixes.iter().copied())
            .collect();
        let is_inside = |prefix: &IpNet| others.iter().any(|other| other.contains(prefix));
        clients
            .into_iter()
            .filter_map(|(at, prefixes)| {
                let prefixes: Vec<IpNet> = prefixes.into_iter().filter(|it| !is_default(at) || is_inside(it)).collect();
                (!prefixes.is_empty()).then_some((claims[at], prefixes))
            })
            .collect()
    }
}

/// What does not fit together in one subscription.
fn drift_of(estate: &Estate, listed: &BTreeMap<String, Endpoint>) -> Vec<Drift> {
    let mut found = Vec::new();
    for endpoint in listed.values() {
        let (kind, what) = match endpoint.connection {
            Connection::Approved if endpoint.records.is_empty() => {
                (DriftKind::EndpointWithoutRecord, "the endpoint lists no name of a known zone")
            }
            Connection::Approved => continue,
            Connection::Pending => (DriftKind::PendingConnection, "the connection waits for approval"),
            Connection::Rejected => (DriftKind::PendingConnection, "the connection was rejected"),
            Connection::Disconnected => {
                (DriftKind::PendingConnection, "the connection was removed from the service: delete the endpoint")
            }
        };
        let names = endpoint.expected.clone();
        found.push(Drift { names, ..Drift::new(kind, &endpoint.id, what) });
    }
    let served: BTreeSet<&str> = listed.values().map(|endpoint| endpoint.service.as_str()).collect();
    for (workspace, needed) in &estate.dependencies.0 {
        // A workspace without an endpoint of its own is not meant to be private.
        if !served.contains(workspace.as_str()) {
            continue;
        }
        for resource in needed.iter().filter(|id| !served.contains(id.as_str())) {
            let what = format!("{resource} has no private endpoint in this subscription");
            found.push(Drift::new(DriftKind::WorkspaceDependency, workspace, &what));
        }
    }
    for (zone, networks) in &estate.empty_zones {
        let what = "the private DNS zone is linked to this network and has no records: its names do not exist here";
        found.push(Drift { networks: networks.clone(), ..Drift::new(DriftKind::EmptyLinkedZone, zone, what) });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(600);

    fn endpoint(id: &str, network: &str, region: &str, address: &str) -> Endpoint {
        Endpoint {
            id: id.to_owned(),
            subscription: "s1".to_owned(),
            network: network.to_owned(),
            region: region.to_owned(),
            service: "/acct".to_owned(),
            groups: Vec::new(),
            connection: Connection::Approved,
            expected: Vec::new(),
            records: vec![EndpointRecord {
                name: "acct.blob.core.windows.net".to_owned(),
                record_type: "A".to_owned(),
                data: vec![address.to_owned()],
            }],
        }
    }

    fn network(prefix: &str, peers: &[&str]) -> Network {
        Network {
            prefixes: vec![prefix.parse().unwrap()],
            peers: peers.iter().map(|peer| (*peer).to_owned()).collect(),
            region: "westeurope".to_owned(),
        }
    }

    fn round(state: &mut State, endpoints: Vec<Endpoint>, networks: Vec<(&str, Network)>, now: Instant) {
        let networks = networks.into_iter().map(|(id, network)| (id.to_owned(), network)).collect();
        let estate = Estate { endpoints, networks, ..Estate::default() };
        state.take([("s1".to_owned(), estate)].into(), &["s1".to_owned(), "s2".to_owned()].into(), &[], now);
        state.expire(GRACE, now);
    }

    /// Address and clients of every record.
    fn shown(state: &State) -> Vec<(String, Vec<String>)> {
        let records = state.records(true).records;
        records.iter().map(|it| (it.data.join(" "), it.clients.iter().map(ToString::to_string).collect())).collect()
    }

    #[test]
    fn a_single_endpoint_is_for_everybody() {
        let mut state = State::default();
        round(
            &mut state,
            vec![endpoint("/e1", "/n1", "westeurope", "10.1.0.4")],
            vec![("/n1", network("10.1.0.0/16", &[]))],
            Instant::now(),
        );
        assert_eq!(shown(&state), [("10.1.0.4".to_owned(), vec![])]);
    }

    #[test]
    fn clients_get_the_endpoint_of_their_network_then_of_a_peer_and_the_rest_that_of_the_servers_network() {
        let mut state = State::default();
        let endpoints =
            vec![endpoint("/e1", "/n1", "northeurope", "10.1.0.4"), endpoint("/e2", "/n2", "westeurope", "10.2.0.4")];
        let networks = vec![
            ("/n1", network("10.1.0.0/16", &["/n3"])),
            ("/n2", network("10.2.0.0/16", &[])),
            ("/n3", network("10.3.0.0/16", &["/n1"])),
            ("/n4", network("10.4.0.0/16", &[])),
        ];
        round(&mut state, endpoints, networks, Instant::now());
        // Nothing is known of the server: the first by id.
        assert_eq!(
            shown(&state),
            [("10.1.0.4".to_owned(), vec![]), ("10.2.0.4".to_owned(), vec!["10.2.0.0/16".to_owned()])]
        );
        state.locate(&[], Some("westeurope"));
        let by_region = [
            ("10.1.0.4".to_owned(), vec!["10.1.0.0/16".to_owned(), "10.3.0.0/16".to_owned()]),
            ("10.2.0.4".to_owned(), vec![]),
        ];
        assert_eq!(shown(&state), by_region);
        state.locate(&["10.1.9.9".parse().unwrap()], None);
        assert_eq!(shown(&state)[0], ("10.1.0.4".to_owned(), vec![]), "the server's own network");
    }

    #[test]
    fn without_views_a_conflict_leaves_the_name_out_and_names_both() {
        let mut state = State::default();
        let endpoints = vec![endpoint("/e1", "/n1", "a", "10.1.0.4"), endpoint("/e2", "/n2", "b", "10.2.0.4")];
        round(&mut state, endpoints, vec![], Instant::now());
        let discovered = state.records(false);
        assert_eq!(discovered.records, []);
        let both = vec!["/e1".to_owned(), "/e2".to_owned()];
        assert_eq!(discovered.conflicts, [("acct.blob.core.windows.net A".to_owned(), both)]);
    }

    #[test]
    fn an_endpoint_that_is_gone_stays_for_its_grace_and_yields_to_a_new_one_at_once() {
        let (mut state, start) = (State::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        round(&mut state, vec![endpoint("/e1", "/n1", "a", "10.1.0.4")], vec![], start);
        round(&mut state, vec![], vec![], after(60));
        round(&mut state, vec![], vec![], after(659));
        assert_eq!(shown(&state).len(), 1, "599 s after the first round without it");
        assert_eq!(state.next_expiry(GRACE), Some(after(660)));
        let mut gone = state.clone();
        round(&mut gone, vec![], vec![], after(660));
        assert_eq!(shown(&gone), []);
        round(&mut state, vec![endpoint("/e9", "/n1", "a", "10.1.0.9")], vec![], after(659));
        assert_eq!(shown(&state), [("10.1.0.9".to_owned(), vec![])], "made again with another address");
        round(&mut state, vec![endpoint("/e1", "/n1", "a", "10.1.0.4")], vec![], after(660));
        assert_eq!(shown(&state)[0].0, "10.1.0.4", "and back");
    }

    #[test]
    fn a_subscription_that_was_not_read_keeps_its_records_and_its_grace_does_not_run() {
        let (mut state, start) = (State::default(), Instant::now());
        round(&mut state, vec![endpoint("/e1", "/n1", "a", "10.1.0.4")], vec![], start);
        let named = BTreeSet::from(["s1".to_owned()]);
        let minute = |number: u64| start + Duration::from_secs(60 * number);
        // Gone for a minute when its subscription can be read no more.
        round(&mut state, vec![], vec![], minute(1));
        for number in 2..100 {
            state.take(BTreeMap::new(), &named, &[], minute(number));
            state.expire(GRACE, minute(number));
            assert_eq!(state.next_expiry(GRACE), None);
        }
        assert_eq!(shown(&state).len(), 1);
        round(&mut state, vec![], vec![], minute(100));
        assert_eq!((shown(&state).len(), state.next_expiry(GRACE)), (1, Some(minute(109))), "nine minutes are left");
        // It is not named in the settings any more.
        state.take(BTreeMap::new(), &BTreeSet::new(), &[], start);
        assert_eq!(shown(&state), []);
    }

    #[test]
    fn wildcards_that_two_services_list_belong_to_neither() {
        let mut state = State::default();
        let of = |id: &str, service: &str| {
            let mut endpoint = endpoint(id, "/n1", "a", "10.1.0.4");
            endpoint.service = service.to_owned();
            endpoint.records[0].name = "*.westeurope.inference.ml.azure.com".to_owned();
            endpoint
        };
        round(&mut state, vec![of("/e1", "/w1"), of("/e2", "/w1")], vec![], Instant::now());
        assert_eq!(shown(&state).len(), 1, "one workspace");
        round(&mut state, vec![of("/e1", "/w1"), of("/e2", "/w2")], vec![], Instant::now());
        assert_eq!(shown(&state), []);
    }

    #[test]
    fn a_state_file_gives_the_same_records_and_a_broken_one_is_refused() {
        let (mut state, now) = (State::default(), Instant::now());
        let endpoints = vec![endpoint("/e1", "/n1", "a", "10.1.0.4"), endpoint("/e2", "/n2", "b", "10.2.0.4")];
        let networks = vec![("/n1", network("10.1.0.0/16", &["/n2"])), ("/n2", network("10.2.0.0/16", &[]))];
        round(&mut state, endpoints, networks, now);
        state.locate(&["10.2.0.5".parse().unwrap()], None);
        let text = state.to_text(now).unwrap();
        let read = State::from_text(&text, now).unwrap();
        assert_eq!(read.records(true), state.records(true));
        assert_eq!(read.to_text(now).unwrap(), text);
        for broken in [&text[..text.len() / 2], "", "version = 7", &text.replace("10.1.0.4", "10.1.0.400")] {
            assert!(State::from_text(broken, now).is_err(), "{broken}");
        }
    }
}
