//! What an explanation says. The JSON of `/explain` and of `pldns explain --json` is this, field by field.

use serde::{Deserialize, Serialize};

/// How a name is answered, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The name, in presentation form.
    pub name: String,
    /// The type: a mnemonic, or `TYPE123`.
    #[serde(rename = "type")]
    pub rtype: String,
    /// The address of the client.
    pub client: String,
    /// What comes of it in one word; `None` where upstreams would have to be asked and were not.
    pub verdict: Option<Verdict>,
    /// Why, for programs.
    pub cause: Cause,
    /// Why, in one sentence.
    pub reason: String,
    /// What to do about it, in one sentence; `None` where all is as it should be.
    pub fix: Option<String>,
    /// The records of the answer in presentation format.
    pub answer: Vec<String>,
    /// The CNAMEs of the answer, in order.
    pub chain: Vec<Link>,
    /// The steps of the query, in order.
    pub steps: Vec<Step>,
    /// How it ends.
    pub outcome: Outcome,
    /// Of an answer: where it comes from, as in `pldns_queries_answered_total`.
    pub source: Option<String>,
    /// Of a refused or dropped query: why, as in `pldns_queries_refused_total`.
    pub refusal: Option<String>,
    /// The reply message.
    pub reply: Option<Reply>,
    /// What upstreams would be asked next, where they were not.
    pub ask: Option<Ask>,
    /// The last reload, where it was rejected.
    pub reload: Option<RejectedReload>,
    /// The generation of settings and records.
    pub generation: u64,
    /// What other resolvers answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compare: Vec<Compared>,
}

/// What comes of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All addresses are private; or other data from the records table.
    Private,
    /// All addresses are public; or other data from an upstream.
    Public,
    /// Private and public addresses.
    Mixed,
    /// The name exists without data of this type.
    Nodata,
    /// The name does not exist.
    Nxdomain,
    /// This server refuses the query.
    Refused,
    /// No usable answer.
    Failed,
}

impl Verdict {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Public => "public",
            Self::Mixed => "mixed",
            Self::Nodata => "nodata",
            Self::Nxdomain => "nxdomain",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Why, for programs that act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The records table answers.
    Record,
    /// A record of the table has a public address.
    PublicRecord,
    /// A zone of the settings says that the name does not exist.
    Zone,
    /// The server itself answers (localhost and the like).
    BuiltIn,
    /// An upstream answers with a private address.
    PrivateUpstream,
    /// The name has a record that this client does not see.
    HiddenByView,
    /// The last reload was rejected: newer records are not served.
    ReloadRejected,
    /// A service's public name that leads into no privatelink zone.
    NoEndpoint,
    /// A private endpoint exists, and its connection is not approved.
    PendingApproval,
    /// A privatelink name without a record, here or in Azure.
    NoRecord,
    /// A private DNS zone that is linked to the network lacks the name.
    Shadowed,
    /// The rule leads to a resolver outside of the network.
    OutsideResolver,
    /// The rule for the privatelink zone is never reached.
    RuleNotReached,
    /// A public answer is refused by `[azure] public_answers`.
    PublicRefused,
    /// A name that is public, as it should be.
    PublicName,
    /// An expired answer is served, because the upstream does not answer.
    Stale,
    /// The question failed a moment ago and is not sent again yet.
    RememberedFailure,
    /// The upstream's budget is used up.
    Budget,
    /// The client is in no allowed network.
    Access,
    /// The query is refused for what it is.
    Refused,
    /// The upstream does not respond.
    UpstreamTimeout,
    /// The upstream cannot be reached.
    UpstreamUnreachable,
    /// The upstream's certificate is not accepted.
    UpstreamCertificate,
    /// The upstream answers REFUSED.
    UpstreamRefused,
    /// The upstream answers SERVFAIL or another failure.
    UpstreamFailed,
    /// The upstream's answer is truncated, and there is no answer over TCP.
    UpstreamTruncated,
    /// The upstream answers only queries without EDNS.
    UpstreamWithoutEdns,
    /// An upstream says that the name does not exist.
    NoSuchName,
    /// The name has no data of this type.
    NoData,
    /// The machine asks another resolver, which answers otherwise.
    OtherResolver,
    /// No query of this client came: it does not ask this server.
    ClientNotSeen,
    /// A chain of CNAMEs does not end.
    Loop,
    /// An upstream would have to be asked.
    NotAsked,
}

/// How a query ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// With an answer.
    Answered,
    /// With a refusal.
    Refused,
    /// Without a reply.
    Dropped,
    /// With a question for upstreams, which were not asked.
    Forwarded,
}

/// A CNAME of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The name.
    pub name: String,
    /// Where it leads.
    pub target: String,
    /// Who answered: `FILE:LINE` of a record, or a rule's zone with its upstreams.
    pub by: String,
}

/// A step of a query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Whether queries of the client came to this server.
    Client {
        /// Whether any did since the server started.
        seen: bool,
        /// Minutes since the last one; since the server started where there was none.
        minutes: u64,
    },
    /// The access list was checked.
    Access {
        /// Whether the client may ask.
        allowed: bool,
    },
    /// The records table was searched.
    Table(TableStep),
    /// The rule of a name was found.
    Rule(RuleStep),
    /// The cache was searched.
    Cache(CacheStep),
    /// An upstream was asked.
    Upstream(UpstreamStep),
    /// A CNAME in an upstream's answer.
    Alias {
        /// The target.
        target: String,
        /// What answers for the target: `same_upstreams`, `table`, `rule` or `built_in`.
        responsible: String,
        /// The zone of the rule, where another one does.
        zone: Option<String>,
        /// The upstreams of that rule.
        upstreams: Vec<ShownUpstream>,
    },
    /// An upstream's answer ends in a CNAME: its target is looked up next.
    Open {
        /// The target.
        target: String,
    },
    /// An upstream's answer was used up to a CNAME whose target another is responsible for.
    Cut {
        /// The target.
        target: String,
    },
    /// A public address came for a name whose service has a private endpoint record here.
    Guard {
        /// The name.
        name: String,
        /// What `[azure] public_answers` says: `allow`, `warn` or `refuse`.
        action: String,
    },
    /// The chain passes a privatelink name that has no record here.
    Privatelink {
        /// The name.
        name: String,
    },
}

/// What the records table has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableStep {
    /// The name that was looked up.
    pub name: String,
    /// `records`, `alias`, `any`, `soa`, `no_data`, `nx_domain`, `other_views` or `nothing`.
    pub found: String,
    /// `record`, `wildcard`, `partial_wildcard` or `reverse`.
    pub by: Option<String>,
    /// The owner name of the record that matched.
    pub owner: Option<String>,
    /// The file it is written in.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The network of clients that the records are for.
    pub view: Option<String>,
    /// Where a CNAME leads.
    pub target: Option<String>,
    /// The owner of the SOA record of a negative answer.
    pub zone: Option<String>,
    /// Records of the name that this client does not see.
    pub hidden: Vec<Hidden>,
}

/// Records that only other clients see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hidden {
    /// Their owner name.
    pub owner: String,
    /// Their type.
    #[serde(rename = "type")]
    pub rtype: String,
    /// The clients that see them.
    pub networks: Vec<String>,
    /// The file they are written in.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
}

/// What becomes of a name that the table does not have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleStep {
    /// The name.
    pub name: String,
    /// `forward`, `localhost`, `no_data` or `nx_domain`.
    pub rule: String,
    /// The rule's zone.
    pub zone: Option<String>,
    /// Its upstreams.
    pub upstreams: Vec<ShownUpstream>,
}

/// An upstream with its health.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownUpstream {
    /// As the settings write it.
    pub upstream: String,
    /// `up`, `down`, or `unknown` before its first query.
    pub state: String,
    /// Smoothed response time.
    pub rtt_seconds: Option<f64>,
    /// Queries sent and not yet answered.
    pub pending: u64,
    /// Queries that wait for the budget or for the upstream.
    pub waiting: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// What the cache has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStep {
    /// The name.
    pub name: String,
    /// `fresh`, `expired` or `absent`.
    pub state: String,
    /// How long ago it was heard.
    pub age_seconds: Option<u64>,
    /// For how long it is valid.
    pub ttl_seconds: Option<u64>,
    /// Its response code.
    pub rcode: Option<String>,
    /// How long it may still be served while its upstream answers other queries.
    pub stale_seconds_left: Option<u64>,
    /// The same while its upstream answers none.
    pub stale_seconds_left_while_down: Option<u64>,
}

/// One upstream that was asked for an explanation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpstreamStep {
    /// The name that was asked for.
    pub name: String,
    /// What happened.
    #[serde(flatten)]
    pub tried: Attempt,
    /// The answer section in presentation format.
    pub answer: Vec<String>,
    /// The authority section in presentation format.
    pub authority: Vec<String>,
}

/// A query to one upstream and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// As the settings write it.
    pub upstream: String,
    /// `udp`, `tcp`, `tls` or `https`.
    pub over: String,
    /// How long it took.
    pub milliseconds: f64,
    /// The response code; `None` without a response.
    pub rcode: Option<String>,
    /// Whether the response has EDNS, as the query had.
    pub edns: bool,
    /// What went wrong.
    pub error: Option<String>,
    /// The kind of what went wrong.
    pub cause: Option<Cause>,
}

/// A reply message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The response code.
    pub rcode: String,
    /// AA.
    pub authoritative: bool,
    /// TC.
    pub truncated: bool,
    /// The answer section.
    pub answer: Vec<ShownRecord>,
    /// The authority section.
    pub authority: Vec<ShownRecord>,
}

/// A record in its parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownRecord {
    /// The owner name.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub rtype: String,
    /// Seconds.
    pub ttl: u32,
    /// The data in presentation format.
    pub data: String,
}

impl ShownRecord {
    /// The record on one line, as zone files have it.
    pub fn line(&self) -> String {
        let dot = if self.name == "." { "" } else { "." };
        format!("{}{dot} {} IN {} {}", self.name, self.ttl, self.rtype, self.data)
    }
}

/// What upstreams would be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// The name.
    pub name: String,
    /// Of whom.
    pub upstreams: Vec<ShownUpstream>,
}

/// A reload that was rejected, so that older settings and records are served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedReload {
    /// The first of its problems: file, line and column first.
    pub problem: String,
    /// How many there are.
    pub problem_count: usize,
}

/// What another resolver answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// The resolver: an address, `system (ADDRESS)` or `azure (ADDRESS)`.
    pub server: String,
    /// Its records in presentation format; or the response code or error where it has none.
    pub answer: Vec<String>,
    /// Whether its data are those of the explained answer, whatever the order and TTLs.
    pub same: bool,
}
