//! The state file: what discovery found last, loaded at the next start.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{BuiltIn, Known, State};
use crate::discover::estate::{Connection, Endpoint, EndpointRecord};
use crate::discover::object::Network;
use crate::wire::Name;

/// The first line of the state file.
const HEADER: &str = "# Written by pldns: what discovery found last. It is loaded at the next start; do not edit it.\n";
/// The form of the state file that this version reads and writes.
const VERSION: u32 = 1;

/// The state file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct StateFile {
    version: u32,
    #[serde(default)]
    here: BuiltIn,
    #[serde(default, rename = "endpoint")]
    endpoints: Vec<EndpointFile>,
    #[serde(default, rename = "network")]
    networks: Vec<NetworkFile>,
}

#[derive(Debug, Serialize, Deserialize)]
struct EndpointFile {
    id: String,
    subscription: String,
    network: String,
    region: String,
    service: String,
    /// Seconds since it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gone_seconds: Option<u64>,
    #[serde(rename = "record")]
    records: Vec<EndpointRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct NetworkFile {
    id: String,
    subscription: String,
    #[serde(flatten)]
    network: Network,
}

impl State {
    /// The text of the state file.
    ///
    /// # Errors
    /// The serializer's; none is known for this form.
    pub(in crate::discover) fn to_text(&self, now: Instant) -> Result<String, toml::ser::Error> {
        let owner_of = |id: &str| {
            let owner = self.network_owners.iter().find(|(_, ids)| ids.contains(id));
            owner.map(|(subscription, _)| subscription.clone()).unwrap_or_default()
        };
        let file = StateFile {
            version: VERSION,
            here: self.here.clone(),
            endpoints: self
                .endpoints
                .values()
                .map(|Known { endpoint, gone_since }| EndpointFile {
                    id: endpoint.id.clone(),
                    subscription: endpoint.subscription.clone(),
                    network: endpoint.network.clone(),
                    region: endpoint.region.clone(),
                    service: endpoint.service.clone(),
                    gone_seconds: gone_since.map(|since| now.saturating_duration_since(since).as_secs()),
                    records: endpoint.records.clone(),
                })
                .collect(),
            networks: self
                .networks
                .iter()
                .map(|(id, network)| NetworkFile {
                    id: id.clone(),
                    subscription: owner_of(id),
                    network: network.clone(),
                })
                .collect(),
        };
        Ok(HEADER.to_owned() + &toml::to_string(&file)?)
    }

    /// What a state file says.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub(in crate::discover) fn from_text(text: &str, now: Instant) -> Result<Self, StateError> {
        let file: StateFile = toml::from_str(text).map_err(|error| StateError::Form(error.message().to_owned()))?;
        if file.version != VERSION {
            return Err(StateError::Version(file.version));
        }
        let mut state = Self { here: file.here, ..Self::default() };
        for it in file.endpoints {
            let gone_since =
                it.gone_seconds.map(|seconds| now.checked_sub(Duration::from_secs(seconds)).unwrap_or(now));
            for record in &it.records {
                check(record)?;
            }
            let endpoint = Endpoint {
                id: it.id.clone(),
                subscription: it.subscription,
                network: it.network,
                region: it.region,
                service: it.service,
                groups: Vec::new(),
                connection: Connection::Approved,
                expected: Vec::new(),
                records: it.records,
            };
            state.endpoints.insert(it.id, Known { endpoint, gone_since });
        }
        for it in file.networks {
            state.network_owners.entry(it.subscription).or_default().insert(it.id.clone());
            state.networks.insert(it.id, it.network);
        }
        Ok(state)
    }
}

/// Why a state file is not used.
#[derive(Debug, thiserror::Error)]
pub(in crate::discover) enum StateError {
    #[error("not a state file: {0}")]
    Form(String),
    #[error("written by another version (form {0})")]
    Version(u32),
    #[error("\"{0}\" is not a valid record")]
    Record(String),
}

/// The file may have been changed: names and addresses are checked as those of any input.
fn check(record: &EndpointRecord) -> Result<(), StateError> {
    let is_address = |data: &String| match record.record_type.as_str() {
        "A" => data.parse::<std::net::Ipv4Addr>().is_ok(),
        "AAAA" => data.parse::<std::net::Ipv6Addr>().is_ok(),
        _ => false,
    };
    let is_name = Name::parse(&record.name).is_ok() && !record.name.contains(['"', '\\']);
    if is_name && !record.data.is_empty() && record.data.iter().all(is_address) {
        return Ok(());
    }
    Err(StateError::Record(record.name.escape_debug().to_string()))
}
