//! Lists of Azure Resource Manager: paging, throttling, and what is kept of them.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Client, HttpError};
use super::object::{Network, Workspace, id_of, network};
use super::page::{Page, Shape, held_by};
use super::shapes;
use super::token::{TokenError, Tokens};

/// Pages of one list.
const PAGES_MAX: usize = 1000;
/// Objects of one list.
const OBJECTS_MAX: usize = 200_000;
/// Attempts of a request that records follow from.
pub(super) const ATTEMPTS: u32 = 3;
/// The longest pause that Retry-After may ask for within a round: longer ones end the round for this subscription.
const PAUSE_MAX: Duration = Duration::from_secs(120);
/// The pause before a repeat that the service says nothing of.
const PAUSE: Duration = Duration::from_secs(2);

const NETWORK: &str = "2024-05-01";
const MACHINE_LEARNING: &str = "2024-10-01";
const DNS: &str = "2020-06-01";
const MANAGEMENT: &str = "2020-05-01";

/// Why a subscription, or a whole round, could not be read. The word is a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// No token.
    Token,
    /// 401.
    Unauthorized,
    /// 403: the identity may not read it.
    Forbidden,
    /// 404: it does not exist, or the identity cannot see it.
    NotFound,
    /// 429, more often than can be waited for.
    Throttled,
    /// 5xx.
    Server,
    /// Another status.
    Status,
    /// No answer, or one that ends early.
    Transport,
    /// An answer that is not what the documentation says.
    Answer,
    /// More than `max_memory`.
    TooLarge,
}

impl Failure {
    /// All of them, in their order.
    pub const ALL: [Self; 10] = [
        Self::Token,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::Throttled,
        Self::Server,
        Self::Status,
        Self::Transport,
        Self::Answer,
        Self::TooLarge,
    ];

    /// The word for metrics and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Throttled => "throttled",
            Self::Server => "server",
            Self::Status => "status",
            Self::Transport => "transport",
            Self::Answer => "answer",
            Self::TooLarge => "too_large",
        }
    }
}

/// A failure with its text.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub(super) struct ArmError {
    pub(super) failure: Failure,
    pub(super) text: String,
}

impl From<TokenError> for ArmError {
    fn from(error: TokenError) -> Self {
        Self { failure: Failure::Token, text: format!("no token: {error}") }
    }
}

impl ArmError {
    fn answer(text: impl Into<String>) -> Self {
        Self { failure: Failure::Answer, text: text.into() }
    }

    fn of_http(what: &str, error: &HttpError) -> Self {
        let failure = match error {
            HttpError::Status { status: 401, .. } => Failure::Unauthorized,
            HttpError::Status { status: 403, .. } => Failure::Forbidden,
            HttpError::Status { status: 404, .. } => Failure::NotFound,
            HttpError::Status { status: 429, .. } => Failure::Throttled,
            HttpError::Status { status: 500.., .. } => Failure::Server,
            HttpError::Status { .. } => Failure::Status,
            HttpError::Transport(_) => Failure::Transport,
            HttpError::NotJson(_) => Failure::Answer,
            HttpError::TooLarge => Failure::TooLarge,
        };
        Self { failure, text: format!("{what}: {error}") }
    }
}

/// Workspaces of one subscription with their computes.
#[derive(Debug, Default)]
pub(super) struct WorkspaceLists {
    pub(super) workspaces: Vec<Workspace>,
    /// Computes, as JSON text, by the lower-case id of their workspace.
    pub(super) computes: BTreeMap<String, Vec<String>>,
}

/// Objects of one subscription by kind, as JSON text.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub(super) endpoints: Vec<String>,
    /// Interfaces of private endpoints by their lower-case ids.
    pub(super) interfaces: HashMap<String, String>,
    pub(super) networks: BTreeMap<String, Network>,
    /// Names of empty private DNS zones with the lower-case ids of the networks that they are linked to.
    pub(super) empty_zones: Vec<(String, Vec<String>)>,
}

/// What a round may hold and holds, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) max: u64,
    pub(super) bytes: u64,
}

impl Held {
    /// As much more; not where that is too much.
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), ArmError> {
        let sum = self.bytes.saturating_add(bytes);
        if sum > self.max {
            return Err(self.too_large());
        }
        self.bytes = sum;
        Ok(())
    }

    fn too_large(&self) -> ArmError {
        let size = match self.max {
            bytes if bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
            bytes => format!("{bytes} bytes"),
        };
        let text = format!(
            "what it lists needs more than `[azure.discover] max_memory` ({size}): raise that, or read fewer subscriptions"
        );
        ArmError { failure: Failure::TooLarge, text }
    }
}

/// Azure Resource Manager at one base URL.
pub(super) struct Arm<'a> {
    pub(super) base: String,
    pub(super) client: &'a Client,
    pub(super) tokens: &'a mut Tokens,
    /// Attempts of one request: the first, and repeats after throttling or a fault of the service.
    pub(super) attempts: u32,
    pub(super) held: Held,
}

impl Arm<'_> {
    /// The workspaces of a subscription. They may be closed to the identity.
    pub(super) fn workspaces(&mut self, id: &str) -> Result<WorkspaceLists, ArmError> {
        let path = list_path(id, "Microsoft.MachineLearningServices/workspaces", MACHINE_LEARNING);
        let found = self.list(&path, &shapes::WORKSPACE, |object, text| Workspace::new(&object, text));
        let mut lists = WorkspaceLists { workspaces: optional(found)?, ..WorkspaceLists::default() };
        for Workspace { id, path, .. } in &lists.workspaces {
            let path = format!("{path}/computes?api-version={MACHINE_LEARNING}");
            let computes = self.list(&path, &shapes::COMPUTE, |_, text| Some(text));
            lists.computes.insert(id.clone(), optional(computes)?);
        }
        Ok(lists)
    }

    /// Everything else of a subscription that records follow from. Zones may be closed to the identity: endpoints and their
    /// interfaces and networks may not.
    pub(super) fn subscription(&mut self, id: &str) -> Result<Lists, ArmError> {
        let list = |kind: &str, version: &str| list_path(id, kind, version);
        let endpoints = list("Microsoft.Network/privateEndpoints", NETWORK);
        let endpoints = self.list(&endpoints, &shapes::ENDPOINT, |_, text| Some(text))?;
        let interfaces = list("Microsoft.Network/networkInterfaces", NETWORK);
        // Those of machines have no names of services.
        let interfaces = self.list(&interfaces, &shapes::INTERFACE, |object, text| {
            let is_linked = |it: &Value| !it["properties"]["privateLinkConnectionProperties"].is_null();
            let mut addresses = object["properties"]["ipConfigurations"].as_array().into_iter().flatten();
            let is_of_endpoint = !object["properties"]["privateEndpoint"].is_null() || addresses.any(is_linked);
            Some((id_of(&object).filter(|_| is_of_endpoint)?.to_ascii_lowercase(), text))
        })?;
        let networks = list("Microsoft.Network/virtualNetworks", NETWORK);
        let networks = self.list(&networks, &shapes::NETWORK, |object, _| network(&object))?;
        let zones = list("Microsoft.Network/privateDnsZones", DNS);
        let zones = optional(self.list(&zones, &shapes::ZONE, |object, _| {
            // Only an empty zone can shadow a name; its links tell for which networks.
            let is_empty = object["properties"]["numberOfRecordSets"].as_u64().is_some_and(|count| count <= 1);
            let name = object["name"].as_str()?.to_ascii_lowercase();
            let is_private = name.split('.').any(|label| label.starts_with("privatelink"));
            (is_empty && is_private).then(|| Some((id_of(&object)?.to_owned(), name)))?
        }))?;
        let mut empty_zones = Vec::new();
        for (id, name) in zones {
            let links = format!("{id}/virtualNetworkLinks?api-version={DNS}");
            let networks = optional(self.list(&links, &shapes::ZONE_LINK, |link, _| {
                link["properties"]["virtualNetwork"]["id"].as_str().map(str::to_ascii_lowercase)
            }))?;
            if !networks.is_empty() {
                empty_zones.push((name, networks));
            }
        }
        let (interfaces, networks) = (interfaces.into_iter().collect(), networks.into_iter().collect());
        Ok(Lists { endpoints, interfaces, networks, empty_zones })
    }

    /// The subscriptions below a management group.
    pub(super) fn subscriptions_of(&mut self, group: &str) -> Result<Vec<String>, ArmError> {
        let path =
            format!("/providers/Microsoft.Management/managementGroups/{group}/descendants?api-version={MANAGEMENT}");
        self.list(&path, &shapes::DESCENDANT, |entry, _| {
            let kind = entry["type"].as_str().unwrap_or_default().to_ascii_lowercase();
            kind.ends_with("/subscriptions").then(|| entry["name"].as_str().map(str::to_ascii_lowercase))?
        })
    }

    /// The zone groups of an endpoint.
    pub(super) fn zone_groups(&mut self, endpoint: &str) -> Result<Vec<Value>, ArmError> {
        let path = format!("{endpoint}/privateDnsZoneGroups?api-version={NETWORK}");
        self.list(&path, &shapes::ZONE_GROUP, |group, _| Some(group))
    }

    /// What `keep` makes of the objects of a list, over all of its pages; each object once. It gets the object and its text.
    fn list<T>(
        &mut self,
        path: &str,
        shape: &Shape,
        mut keep: impl FnMut(Value, String) -> Option<T>,
    ) -> Result<Vec<T>, ArmError> {
        let what = path.split('?').next().unwrap_or(path).to_owned();
        let mut url = format!("{}{path}", self.base);
        let (mut kept, mut urls, mut count) = (Vec::new(), HashSet::new(), 0);
        // Of ids their hashes: a list may have many objects of which none is kept.
        let (hasher, mut ids) = (RandomState::new(), HashSet::new());
        loop {
            if !urls.insert(url.clone()) || urls.len() > PAGES_MAX {
                return Err(ArmError::answer(format!("{what}: its pages do not end")));
            }
            let Page { objects, next } = self.get(&what, &url, shape)?;
            let Some(objects) = objects else {
                return Err(ArmError::answer(format!("{what}: the answer has no list `value`")));
            };
            count += objects.len();
            for text in objects {
                let object: Value = serde_json::from_str(&text).unwrap_or_default();
                let is_new = |id: &str| ids.insert(hasher.hash_one(id.to_ascii_lowercase()));
                if !id_of(&object).is_none_or(is_new) {
                    continue;
                }
                let bytes = held_by(&text);
                if let Some(one) = keep(object, text) {
                    self.held.take(bytes)?;
                    kept.push(one);
                }
            }
            if count > OBJECTS_MAX {
                return Err(ArmError::answer(format!("{what}: more than {OBJECTS_MAX} objects")));
            }
            match next {
                None => return Ok(kept),
                Some(next) if origin(&next).is_some_and(|next| Some(next) == origin(&self.base)) => url = next,
                Some(next) => {
                    let to = origin(&next).unwrap_or("nowhere");
                    return Err(ArmError::answer(format!(
                        "{what}: the next page is at another host ({to}): not followed"
                    )));
                }
            }
        }
    }

    /// One page, repeated where that helps.
    fn get(&mut self, what: &str, url: &str, shape: &Shape) -> Result<Page, ArmError> {
        let mut was_refused = false;
        for attempt in 1.. {
            let authorization = format!("Bearer {}", self.tokens.get(Instant::now())?);
            let left = self.held.max.saturating_sub(self.held.bytes);
            let error = match self.client.get_page(url, &authorization, shape, left) {
                Ok(page) => return Ok(page),
                Err(HttpError::TooLarge) => return Err(self.held.too_large()),
                Err(error) => error,
            };
            let pause = match &error {
                HttpError::Status { status: 401, .. } if !was_refused => {
                    // It may have expired early, or been revoked.
                    was_refused = true;
                    self.tokens.forget();
                    Duration::ZERO
                }
                HttpError::Status { status: 429 | 500.., retry_after, .. } => retry_after.unwrap_or(PAUSE * attempt),
                HttpError::Transport(_) => PAUSE,
                _ => return Err(ArmError::of_http(what, &error)),
            };
            if attempt >= self.attempts || pause > PAUSE_MAX {
                return Err(ArmError::of_http(what, &error));
            }
            std::thread::sleep(pause);
        }
        Err(ArmError::answer(what))
    }
}

/// The path of a list of all objects of a kind in a subscription.
fn list_path(subscription: &str, kind: &str, version: &str) -> String {
    format!("/subscriptions/{subscription}/providers/{kind}?api-version={version}")
}

/// Nothing where the identity may not read it or the subscription does not have the service.
fn optional<T>(list: Result<Vec<T>, ArmError>) -> Result<Vec<T>, ArmError> {
    match list {
        Err(ArmError { failure: Failure::Forbidden | Failure::NotFound | Failure::Status, .. }) => Ok(Vec::new()),
        list => list,
    }
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> Option<&str> {
    let start = url.find("://")? + 3;
    let end = url.get(start..)?.find('/').map_or(url.len(), |at| start + at);
    url.get(..end)
}
