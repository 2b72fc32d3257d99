//! One round of discovery: a token, the lists of every subscription, and what came of each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use super::arm::{ATTEMPTS, Arm, ArmError, Failure, Held, WorkspaceLists};
use super::client::Client;
use super::cloud::services;
use super::estate::{Estate, Workspaces, estate};
use super::names::Names;
use super::state::{Discovered, State};
use super::token::{METADATA_SERVICE, Tokens};
use super::zone_groups::ZoneGroups;
use crate::config::{DiscoverSettings, Settings};
use crate::upstream::Trust;

/// What is found takes this many times what it takes once: in the last round and this one, in records and their text, in what
/// the loader makes of that, in the state file. Measured.
const COPIES: u64 = 10;

/// What one round was like.
#[derive(Debug, Default)]
pub struct RoundReport {
    /// What failed: the subscription or management group, why, and in words. Empty for a complete round.
    pub failures: Vec<(String, Failure, String)>,
    /// Subscriptions that were read completely.
    pub read: usize,
    /// What `generate` says of names and objects that are not served.
    pub remarks: Vec<String>,
}

impl RoundReport {
    /// Whether every subscription was read.
    pub fn is_complete(&self) -> bool {
        self.failures.is_empty()
    }
}

/// What rounds share: connections, the token, what was found.
pub(super) struct Rounds {
    settings: DiscoverSettings,
    client: Client,
    metadata: Client,
    tokens: Tokens,
    /// Subscriptions of management groups, as last read.
    of_groups: BTreeMap<String, Vec<String>>,
    is_located: bool,
    zone_groups: ZoneGroups,
}

impl Rounds {
    pub(super) fn new(settings: &Settings, trust: Arc<Trust>) -> Self {
        let names = Names::of(settings, trust);
        let (client, metadata) = (Client::new(names.clone()), Client::for_metadata(names));
        let discover = settings.azure.discover.clone();
        let tokens = Tokens::new(&discover, client.clone(), metadata.clone());
        Self {
            settings: discover,
            client,
            metadata,
            tokens,
            of_groups: BTreeMap::new(),
            is_located: false,
            zone_groups: ZoneGroups::default(),
        }
    }

    /// Reads the zone groups of some endpoints. A step of its own, so that the round's records serve before it.
    pub(super) fn read_zone_groups(&mut self, state: &mut State) {
        let services = services(self.settings.cloud);
        let base = self.base();
        // One attempt: what is not read in this round is read in a later one.
        let held = Held { max: self.settings.max_memory, bytes: 0 };
        let mut arm = Arm { base, client: &self.client, tokens: &mut self.tokens, attempts: 1, held };
        self.zone_groups.read(&mut arm, state, services.cloud);
    }

    fn base(&self) -> String {
        let known = services(self.settings.cloud).resource_manager;
        self.settings.resource_manager.clone().unwrap_or_else(|| known.to_owned())
    }

    /// Reads everything and takes it into `state`.
    pub(super) fn run(&mut self, state: &mut State) -> RoundReport {
        let mut report = RoundReport::default();
        let services = services(self.settings.cloud);
        let base = self.base();
        let mut found = state.bytes();
        let held = Held { max: self.settings.max_memory, bytes: found.values().sum::<u64>() * COPIES };
        let mut arm = Arm { base, client: &self.client, tokens: &mut self.tokens, attempts: ATTEMPTS, held };
        let mut named: BTreeSet<String> = self.settings.subscriptions.iter().cloned().collect();
        for group in &self.settings.management_groups {
            match arm.subscriptions_of(group) {
                Ok(subscriptions) => drop(self.of_groups.insert(group.clone(), subscriptions)),
                Err(error) => report.failures.push((group.clone(), error.failure, error.text)),
            }
            named.extend(self.of_groups.get(group).into_iter().flatten().cloned());
        }
        // Workspaces first: they may be in another subscription than their endpoints. Of the rest, one subscription's lists are
        // kept at a time.
        let mut workspaces: BTreeMap<String, WorkspaceLists> = BTreeMap::new();
        read_each(&named, &mut report, |id| {
            let before = arm.held;
            let lists = arm.workspaces(id).inspect_err(|_| arm.held = before)?;
            workspaces.insert(id.clone(), lists);
            Ok(())
        });
        let readable: BTreeSet<String> = workspaces.keys().cloned().collect();
        let known = Workspaces::of(&workspaces);
        let mut estates: BTreeMap<String, Estate> = BTreeMap::new();
        read_each(&readable, &mut report, |id| {
            // Its lists go once its records are there.
            let before = arm.held;
            let lists = arm.subscription(id);
            arm.held = before;
            let estate = estate(id, lists?, &known, services.cloud);
            let bytes = estate.bytes() * COPIES;
            arm.held.bytes -= found.get(id).copied().unwrap_or_default() * COPIES;
            if let Err(error) = arm.held.take(bytes) {
                arm.held = before;
                return Err(error);
            }
            found.insert(id.clone(), estate.bytes());
            estates.insert(id.clone(), estate);
            Ok(())
        });
        report.read = estates.len();
        for estate in estates.values_mut() {
            report.remarks.append(&mut estate.remarks);
        }
        let now = Instant::now();
        // A management group that could not be read may have subscriptions that are not known: none is dropped then.
        let is_known = report.failures.iter().all(|(it, ..)| !self.settings.management_groups.contains(it));
        if !is_known {
            named.extend(state.subscriptions());
        }
        state.take(estates, &named, &self.settings.networks, now);
        state.expire(self.settings.grace, now);
        self.locate(state);
        report
    }

    /// Where this server is, once the metadata service has said so. Machines outside of Azure have none.
    fn locate(&mut self, state: &mut State) {
        if self.is_located {
            return;
        }
        let base = self.settings.metadata_service.as_deref().unwrap_or(METADATA_SERVICE);
        let url = format!("{base}/metadata/instance?api-version=2020-09-01");
        let Ok(instance) = self.metadata.get(&url, &[("Metadata", "true")]) else { return };
        let interfaces = instance["network"]["interface"].as_array().into_iter().flatten();
        let addresses: Vec<IpAddr> = interfaces.flat_map(addresses_of).collect();
        let region = instance["compute"]["location"].as_str().map(str::to_ascii_lowercase);
        state.locate(&addresses, region.as_deref());
        self.is_located = true;
    }
}

/// Reads subscription by subscription, and notes what failed.
fn read_each(ids: &BTreeSet<String>, report: &mut RoundReport, mut read: impl FnMut(&String) -> Result<(), ArmError>) {
    for id in ids {
        let Err(error) = read(id) else { continue };
        report.failures.push((id.clone(), error.failure, error.text));
        if error.failure == Failure::Token {
            // The next one would fail in the same way.
            break;
        }
    }
}

fn addresses_of(interface: &Value) -> Vec<IpAddr> {
    let families = ["ipv4", "ipv6"].into_iter();
    let all = families.filter_map(|family| interface[family]["ipAddress"].as_array()).flatten();
    all.filter_map(|it| it["privateIpAddress"].as_str()?.parse().ok()).collect()
}

/// One round by itself, as `pldns discover` makes it; `trust` is for upstreams over TLS and HTTPS.
pub fn once(settings: &Settings, trust: Arc<Trust>) -> (Discovered, RoundReport) {
    let mut state = State::default();
    let report = Rounds::new(settings, trust).run(&mut state);
    (state.records(settings.azure.discover.views), report)
}
