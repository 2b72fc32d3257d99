//! What does not fit together: endpoints, records, zones.

use serde::Serialize;

/// A kind of drift. The word is a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// An approved endpoint from which no record follows.
    EndpointWithoutRecord,
    /// A record in a file whose address no endpoint has.
    RecordWithoutEndpoint,
    /// A record in a file that says otherwise than the endpoint.
    DifferentRecord,
    /// An endpoint whose connection is not approved.
    PendingConnection,
    /// A workspace with an endpoint whose storage, vault or registry has none.
    WorkspaceDependency,
    /// An empty privatelink zone that is linked to the server's network: it shadows public names.
    EmptyLinkedZone,
    /// An endpoint whose zone group writes into a zone that its names do not belong into.
    ZoneGroup,
}

impl DriftKind {
    /// All of them, in their order.
    pub const ALL: [Self; 7] = [
        Self::EndpointWithoutRecord,
        Self::RecordWithoutEndpoint,
        Self::DifferentRecord,
        Self::PendingConnection,
        Self::WorkspaceDependency,
        Self::EmptyLinkedZone,
        Self::ZoneGroup,
    ];

    /// The word for metrics and pages.
    pub fn word(self) -> &'static str {
        match self {
            Self::EndpointWithoutRecord => "endpoint_without_record",
            Self::RecordWithoutEndpoint => "record_without_endpoint",
            Self::DifferentRecord => "different_record",
            Self::PendingConnection => "pending_connection",
            Self::WorkspaceDependency => "workspace_dependency",
            Self::EmptyLinkedZone => "empty_linked_zone",
            Self::ZoneGroup => "zone_group",
        }
    }

    /// What to do about it, in one sentence.
    pub fn fix(self) -> &'static str {
        match self {
            Self::EndpointWithoutRecord => {
                "Add its records to a file (`pldns generate`); if it should list names, see the endpoint's DNS configuration."
            }
            Self::RecordWithoutEndpoint => "Remove the record from its file, or create the endpoint again.",
            Self::DifferentRecord => "Put the endpoint's address into the file, or remove the record from it.",
            Self::PendingConnection => {
                "Approve the connection at the resource (`az network private-endpoint-connection approve`), or delete the \
                 endpoint."
            }
            Self::WorkspaceDependency => {
                "Create a private endpoint for the resource, or serve its name publicly on purpose."
            }
            Self::EmptyLinkedZone => {
                "Unlink the zone from the network, add its records, or name `[azure] public_fallback`."
            }
            Self::ZoneGroup => {
                "Give the zone group the right zone (`az network private-endpoint dns-zone-group add`) and take the wrong one out \
                 of it (`remove`)."
            }
        }
    }
}

/// One thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// Its kind.
    pub kind: DriftKind,
    /// The endpoint, record, workspace or zone.
    pub subject: String,
    /// One sentence.
    pub reason: String,
    /// What to do about it.
    pub fix: &'static str,
    /// The names that it concerns, where that is known.
    #[serde(skip)]
    pub names: Vec<String>,
    /// Networks that it concerns, where it does not concern all.
    #[serde(skip)]
    pub(super) networks: Vec<String>,
}

impl Drift {
    /// One that concerns all networks.
    pub fn new(kind: DriftKind, subject: &str, reason: &str) -> Self {
        Self {
            kind,
            subject: subject.to_owned(),
            reason: reason.to_owned(),
            fix: kind.fix(),
            names: Vec::new(),
            networks: Vec::new(),
        }
    }
}
