//! The steps of a query, for explanations.
//!
//! The engine reports its steps to an [`Observer`]. The observer of a served query is `()`, which ignores them at compile
//! time: then no step is made and nothing is paid. What is reported is what the engine acts on, so an explanation cannot
//! differ from an answer.

use std::net::IpAddr;

use super::{PublicAction, StaleAnswer};
use crate::cache::{AnswerView, State};
use crate::forward::Disposition;
use crate::records::{Lookup, Match, Table};
use crate::wire::name::{labels, parent};
use crate::wire::{Name, Rtype};

/// Who is told of the steps of a query.
pub trait Observer {
    /// Whether it looks at all. A query that is looked at leaves no trace: it is no use of the cache.
    const IS_WATCHING: bool = true;

    /// Takes a step, in the order of the way.
    fn step(&self, step: Step<'_>);
}

/// No observer.
impl Observer for () {
    const IS_WATCHING: bool = false;

    #[inline(always)]
    fn step(&self, _: Step<'_>) {}
}

/// A step on the way of a query. Names are in lower case wire form.
pub enum Step<'a> {
    /// The access list was asked.
    Access {
        /// Whether the client may ask.
        is_allowed: bool,
    },
    /// The table was asked for a name.
    Table {
        /// The name.
        name: &'a [u8],
        /// What it has.
        found: &'a Lookup<'a>,
    },
    /// A rule was looked for, because the table does not have the name.
    Rule {
        /// The name.
        name: &'a [u8],
        /// What the rule says.
        disposition: &'a Disposition,
        /// Bytes at the end of `name` that are the rule's zone.
        zone_len: usize,
    },
    /// The cache was asked for a name.
    Cache {
        /// The name.
        name: &'a [u8],
        /// What it has.
        found: Option<(AnswerView<'a>, State)>,
        /// Until when what it has may be served though it expired, where it may.
        stale: Option<&'a StaleAnswer>,
    },
    /// An alias in an upstream's answer. All of an answer are reported in order, up to the first whose target is not its
    /// upstreams' to answer.
    Alias {
        /// The name that it leads to.
        target: &'a [u8],
        /// What is responsible for that name.
        responsible: Responsible<'a>,
    },
    /// An upstream's answer was used up to an alias only: its target is answered by the table or another rule.
    Cut {
        /// Where the alias leads.
        target: &'a [u8],
    },
    /// An upstream gave a public address for a name whose service has a private endpoint record here.
    Guard {
        /// The name.
        name: &'a [u8],
        /// What is done.
        action: PublicAction,
    },
    /// An upstream's answer ends in an alias: its target is looked up next.
    Open {
        /// Where the alias leads.
        target: &'a [u8],
    },
}

/// What is responsible for a name that an upstream's answer leads to.
#[derive(Clone, Copy)]
pub enum Responsible<'a> {
    /// The upstreams that gave the answer.
    SameUpstreams,
    /// The table.
    Table,
    /// A rule with other upstreams, or with an answer of this server's own.
    Rule {
        /// What the rule says.
        disposition: &'a Disposition,
        /// Bytes at the end of the name that are the rule's zone.
        zone_len: usize,
    },
}

/// The owner of the wildcard or partial wildcard that `name` was found by; its own name where it was found by that.
pub fn matched_owner(table: &Table, name: &[u8], qtype: Rtype, client: IpAddr, how: Match) -> Option<Name> {
    let is_owner = |owner: &Name| {
        let how = match table.lookup(owner.to_lowercase().as_wire(), qtype, client) {
            Lookup::Answer(_, how) | Lookup::Alias(_, how) | Lookup::NoData(_, how) | Lookup::Any(how) => Some(how),
            _ => None,
        };
        how == Some(Match::Record)
    };
    let above = Name::from_wire(parent(name)?);
    match how {
        Match::Record | Match::Reverse => Name::from_wire(name),
        Match::Wildcard => std::iter::successors(above, Name::parent).find_map(|encloser| {
            let owner = encloser.child(b"*")?;
            is_owner(&owner).then_some(owner)
        }),
        Match::PartialWildcard => {
            let (label, above) = (labels(name).next()?, above?);
            // The longest fixed part first, as a lookup has it.
            (1..=label.len()).rev().find_map(|len| {
                let ending = above.child(&[b"*", label.get(label.len() - len..)?].concat());
                let beginning = above.child(&[label.get(..len)?, b"*"].concat());
                [ending, beginning].into_iter().flatten().find(is_owner)
            })
        }
    }
}
