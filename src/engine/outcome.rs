//! Every end of a query's way has a name. Metrics, logs and `explain` speak of these, and of nothing else.

use crate::records::Match;

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AnswerSource {
    /// A record of the name itself.
    Record,
    /// A wildcard record.
    Wildcard,
    /// A partial wildcard.
    PartialWildcard,
    /// The reverse name of an address in the table.
    Reverse,
    /// A zone that says the name does not exist.
    Zone,
    /// A name that is always answered here (localhost and the like).
    BuiltIn,
    /// The cache.
    Cache,
    /// The cache, expired: its upstream is silent, or its budget spent (RFC 8767).
    Stale,
    /// An upstream.
    Upstream,
    /// No upstream: SERVFAIL, because no upstream answered or a chain of aliases does not end.
    Failure,
}

impl AnswerSource {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 10] = [
        Self::Record,
        Self::Wildcard,
        Self::PartialWildcard,
        Self::Reverse,
        Self::Zone,
        Self::BuiltIn,
        Self::Cache,
        Self::Stale,
        Self::Upstream,
        Self::Failure,
    ];

    /// The word for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Wildcard => "wildcard",
            Self::PartialWildcard => "partial_wildcard",
            Self::Reverse => "reverse",
            Self::Zone => "zone",
            Self::BuiltIn => "built_in",
            Self::Cache => "cache",
            Self::Stale => "stale",
            Self::Upstream => "upstream",
            Self::Failure => "failure",
        }
    }
}

impl From<Match> for AnswerSource {
    fn from(how: Match) -> Self {
        match how {
            Match::Record => Self::Record,
            Match::Wildcard => Self::Wildcard,
            Match::PartialWildcard => Self::PartialWildcard,
            Match::Reverse => Self::Reverse,
        }
    }
}

/// Why a query was refused or dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Dropped: fewer bytes than a header.
    Short,
    /// Dropped: a response, not a query.
    Response,
    /// Refused: FORMERR.
    Malformed,
    /// Refused: NOTIMP, an opcode other than QUERY.
    Opcode,
    /// Refused: BADVERS, an EDNS version other than 0.
    EdnsVersion,
    /// Refused: a class other than IN.
    Class,
    /// Refused: a zone transfer or another type that is none of records.
    QueryType,
    /// Refused: the client is in no allowed network.
    Access,
    /// Refused: not in the table, and no recursion desired.
    NoRecursion,
    /// Refused: a question of this server's own came back to it.
    Loop,
    /// Dropped: its upstream's budget had no turn for it in time; silence lets the client ask again.
    BudgetTimeout,
    /// Dropped: a refusal or format error that would be one too many for the network of its sender.
    RefusalRate,
    /// Dropped: the reply could not be sent, or the client was gone.
    Unsent,
    /// Dropped: the server ended while the query waited.
    Shutdown,
    /// Dropped: a fault of the server itself.
    Fault,
}

impl Reason {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 15] = [
        Self::Short,
        Self::Response,
        Self::Malformed,
        Self::Opcode,
        Self::EdnsVersion,
        Self::Class,
        Self::QueryType,
        Self::Access,
        Self::NoRecursion,
        Self::Loop,
        Self::BudgetTimeout,
        Self::RefusalRate,
        Self::Unsent,
        Self::Shutdown,
        Self::Fault,
    ];

    /// The word for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Response => "response",
            Self::Malformed => "malformed",
            Self::Opcode => "opcode",
            Self::EdnsVersion => "edns_version",
            Self::Class => "class",
            Self::QueryType => "query_type",
            Self::Access => "access",
            Self::NoRecursion => "no_recursion",
            Self::Loop => "loop",
            Self::BudgetTimeout => "no_turn",
            Self::RefusalRate => "refusal_rate",
            Self::Unsent => "unsent",
            Self::Shutdown => "shutdown",
            Self::Fault => "fault",
        }
    }

    /// Whether the client gets no reply at all.
    pub fn is_drop(self) -> bool {
        matches!(
            self,
            Self::Short
                | Self::Response
                | Self::BudgetTimeout
                | Self::RefusalRate
                | Self::Unsent
                | Self::Shutdown
                | Self::Fault
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_in_order() {
        for (place, source) in AnswerSource::ALL.into_iter().enumerate() {
            assert_eq!(source as usize, place);
        }
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
    }
}
