//! Lists of Azure Resource Manager: paging, throttling, and what is kept of them.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Client, HttpError};
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
}

impl Failure {
    /// All of them, in their order.
    pub const ALL: [Self; 9] = [
        Self::Token,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::Throttled,
        Self::Server,
        Self::Status,
        Self::Transport,
        Self::Answer,
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
        };
        Self { failure, text: format!("{what}: {error}") }
    }
}

/// Workspaces of one subscription with their computes, as Azure Resource Manager gives them.
#[derive(Debug, Default)]
pub(super) struct WorkspaceLists {
    pub(super) workspaces: Vec<Value>,
    /// Computes by the lower-case id of their workspace.
    pub(super) computes: BTreeMap<String, Vec<Value>>,
}

/// Objects of one subscription by kind, as Azure Resource Manager gives them.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub(super) endpoints: Vec<Value>,
    pub(super) interfaces: Vec<Value>,
    pub(super) networks: Vec<Value>,
    /// Private DNS zones with the lower-case ids of the networks that they are linked to.
    pub(super) zones: Vec<(Value, Vec<String>)>,
}

/// Azure Resource Manager at one base URL.
pub(super) struct Arm<'a> {
    pub(super) base: String,
    pub(super) client: &'a Client,
    pub(super) tokens: &'a mut Tokens,
    /// Attempts of one request: the first, and repeats after throttling or a fault of the service.
    pub(super) attempts: u32,
}

impl Arm<'_> {
    /// The workspaces of a subscription. They may be closed to the identity.
    pub(super) fn workspaces(&mut self, id: &str) -> Result<WorkspaceLists, ArmError> {
        let path = list_path(id, "Microsoft.MachineLearningServices/workspaces", MACHINE_LEARNING);
        let mut lists = WorkspaceLists { workspaces: optional(self.list(&path))?, ..WorkspaceLists::default() };
        for workspace in &lists.workspaces {
            let Some(id) = id_of(workspace) else { continue };
            let computes = self.list(&format!("{id}/computes?api-version={MACHINE_LEARNING}"));
            lists.computes.insert(id.to_ascii_lowercase(), optional(computes)?);
        }
        Ok(lists)
    }

    /// Everything else of a subscription that records follow from. Zones may be closed to the identity: endpoints and their
    /// interfaces and networks may not.
    pub(super) fn subscription(&mut self, id: &str) -> Result<Lists, ArmError> {
        let list = |kind: &str, version: &str| list_path(id, kind, version);
        let mut lists = Lists {
            endpoints: self.list(&list("Microsoft.Network/privateEndpoints", NETWORK))?,
            interfaces: self.list(&list("Microsoft.Network/networkInterfaces", NETWORK))?,
            networks: self.list(&list("Microsoft.Network/virtualNetworks", NETWORK))?,
            ..Lists::default()
        };
        let zones = optional(self.list(&list("Microsoft.Network/privateDnsZones", DNS)))?;
        for zone in zones {
            // Only an empty zone can shadow a name; its links tell for which networks.
            let is_empty = zone["properties"]["numberOfRecordSets"].as_u64().is_some_and(|count| count <= 1);
            let links = match id_of(&zone).filter(|_| is_empty) {
                Some(id) => optional(self.list(&format!("{id}/virtualNetworkLinks?api-version={DNS}")))?,
                None => Vec::new(),
            };
            let networks = links.iter().filter_map(|link| link["properties"]["virtualNetwork"]["id"].as_str());
            let networks = networks.map(str::to_ascii_lowercase).collect();
            lists.zones.push((zone, networks));
        }
        Ok(lists)
    }

    /// The subscriptions below a management group.
    pub(super) fn subscriptions_of(&mut self, group: &str) -> Result<Vec<String>, ArmError> {
        let path =
            format!("/providers/Microsoft.Management/managementGroups/{group}/descendants?api-version={MANAGEMENT}");
        let all = self.list(&path)?;
        let is_subscription = |entry: &&Value| {
            let kind = entry["type"].as_str().unwrap_or_default().to_ascii_lowercase();
            kind.ends_with("/subscriptions")
        };
        let names = all.iter().filter(is_subscription).filter_map(|entry| entry["name"].as_str());
        Ok(names.map(str::to_ascii_lowercase).collect())
    }

    /// The zone groups of an endpoint.
    pub(super) fn zone_groups(&mut self, endpoint: &str) -> Result<Vec<Value>, ArmError> {
        self.list(&format!("{endpoint}/privateDnsZoneGroups?api-version={NETWORK}"))
    }

    /// All objects of a list, each once, over all of its pages.
    fn list(&mut self, path: &str) -> Result<Vec<Value>, ArmError> {
        let what = path.split('?').next().unwrap_or(path).to_owned();
        let mut url = format!("{}{path}", self.base);
        let (mut objects, mut ids, mut urls) = (Vec::new(), HashSet::new(), HashSet::new());
        loop {
            if !urls.insert(url.clone()) || urls.len() > PAGES_MAX {
                return Err(ArmError::answer(format!("{what}: its pages do not end")));
            }
            let mut page = self.get(&what, &url)?;
            let Some(values) = page["value"].as_array_mut() else {
                return Err(ArmError::answer(format!("{what}: the answer has no list `value`")));
            };
            for value in values.drain(..) {
                if id_of(&value).is_none_or(|id| ids.insert(id.to_ascii_lowercase())) {
                    objects.push(value);
                }
            }
            if objects.len() > OBJECTS_MAX {
                return Err(ArmError::answer(format!("{what}: more than {OBJECTS_MAX} objects")));
            }
            match page["nextLink"].as_str().filter(|next| !next.is_empty()) {
                None => return Ok(objects),
                Some(next) if origin(next).is_some_and(|next| Some(next) == origin(&self.base)) => {
                    next.clone_into(&mut url)
                }
                Some(next) => {
                    let to = origin(next).unwrap_or("nowhere");
                    return Err(ArmError::answer(format!(
                        "{what}: the next page is at another host ({to}): not followed"
                    )));
                }
            }
        }
    }

    /// One page, repeated where that helps.
    fn get(&mut self, what: &str, url: &str) -> Result<Value, ArmError> {
        let mut was_refused = false;
        for attempt in 1.. {
            let authorization = format!("Bearer {}", self.tokens.get(Instant::now())?);
            let error = match self.client.get(url, &[("Authorization", &authorization), ("Accept", "application/json")])
            {
                Ok(page) => return Ok(page),
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
fn optional(list: Result<Vec<Value>, ArmError>) -> Result<Vec<Value>, ArmError> {
    match list {
        Err(ArmError { failure: Failure::Forbidden | Failure::NotFound | Failure::Status, .. }) => Ok(Vec::new()),
        list => list,
    }
}

/// The id of an object.
pub(super) fn id_of(object: &Value) -> Option<&str> {
    object["id"].as_str().filter(|id| id.starts_with('/'))
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> Option<&str> {
    let start = url.find("://")? + 3;
    let end = url.get(start..)?.find('/').map_or(url.len(), |at| start + at);
    url.get(..end)
}
