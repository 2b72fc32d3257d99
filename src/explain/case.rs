//! What is explained, and all that is known of it when its end is judged.

use std::net::IpAddr;

use super::AzureNames;
use super::explanation::{Ask, Attempt, Cause, Outcome, RejectedReload, Reply, RuleStep, Step, TableStep};
use crate::engine::{AnswerSource, Reason, Snapshot};
use crate::forward::{Failure, UpstreamState};
use crate::wire::{Name, Rtype};

/// What is to be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The name.
    pub name: Name,
    /// The type.
    pub rtype: Rtype,
    /// The client's address; IPv4 where it is one mapped into IPv6.
    pub client: IpAddr,
}

/// What is known beside settings and records, in a server that runs.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The upstreams' states.
    pub upstreams: Vec<UpstreamState>,
    /// The last reload, where it was rejected.
    pub reload: Option<RejectedReload>,
    /// Private endpoints whose connection is not approved.
    pub unapproved: Vec<Unapproved>,
    /// Whether queries of the client came; `None` where that is not known.
    pub seen: Option<Seen>,
}

/// A private endpoint whose connection is not approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unapproved {
    /// Its resource id.
    pub endpoint: String,
    /// The public names that it is for.
    pub names: Vec<Name>,
    /// The state of its connection, as the end of a sentence.
    pub state: String,
}

/// When a client was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// No query of it came in this time: since the server started.
    Never {
        /// How long that is, minutes.
        minutes: u64,
    },
    /// Its last query came about so long ago.
    Ago {
        /// Minutes; what is younger than the clock's step counts as 0.
        minutes: u64,
    },
}

/// All that is known of a query.
pub(super) struct Case<'c> {
    pub(super) snapshot: &'c Snapshot,
    pub(super) azure: AzureNames,
    pub(super) question: &'c Question,
    pub(super) steps: &'c [Step],
    /// The name and the targets of its CNAMEs.
    pub(super) names: &'c [Name],
    pub(super) outcome: Outcome,
    pub(super) source: Option<AnswerSource>,
    pub(super) refusal: Option<Reason>,
    pub(super) reply: Option<&'c Reply>,
    pub(super) ask: Option<&'c Ask>,
    /// Why upstreams did not answer the last question, where they did not.
    pub(super) failure: Option<Failure>,
    /// What was tried for the last question.
    pub(super) attempts: &'c [Attempt],
    pub(super) is_remembered: bool,
    pub(super) around: &'c Surroundings,
}

/// Why, and what to do.
pub(super) type Found = (Cause, String, Option<String>);

impl Case<'_> {
    pub(super) fn is_from_table(&self) -> bool {
        use AnswerSource::{BuiltIn, PartialWildcard, Record, Reverse, Wildcard, Zone};
        matches!(self.source, Some(BuiltIn | PartialWildcard | Record | Reverse | Wildcard | Zone))
    }

    pub(super) fn is_service(&self) -> bool {
        (self.azure.is_service_name)(&self.question.name)
    }

    pub(super) fn last_name(&self) -> &Name {
        self.names.last().unwrap_or(&self.question.name)
    }

    pub(super) fn last_rule(&self) -> Option<&RuleStep> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Rule(rule) if rule.rule == "forward" => Some(rule),
            _ => None,
        })
    }

    pub(super) fn last_table(&self) -> Option<&TableStep> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Table(table) if table.found != "nothing" => Some(table),
            _ => None,
        })
    }
}

/// ` in FILE:LINE`, where it is known.
pub(super) fn at(file: &Option<String>, line: Option<u32>) -> String {
    match (file, line) {
        (Some(file), Some(line)) => format!(" in {file}:{line}"),
        _ => String::new(),
    }
}

pub(super) fn upstreams_of(rule: &RuleStep) -> String {
    one_of(rule.upstreams.iter().map(|upstream| upstream.upstream.as_str()))
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn one_of<'t>(words: impl Iterator<Item = &'t str>) -> String {
    let words: Vec<_> = words.collect();
    match words.split_last() {
        None => "no upstream".to_owned(),
        Some((only, [])) => (*only).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}
