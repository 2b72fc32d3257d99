//! Why a name is answered as it is: the engine's own steps, one verdict, one reason, one fix.
//!
//! ```text
//! Walk::begin ─> engine ─┬─> reply ─────────────────────────────┐
//!                        └─> question ─> the caller asks it ─> Walk::hear ─> engine ...
//!                                                               ▼
//!                                       Walk::finish ─> judge ─> Explanation (Serialize, Display)
//! ```
//!
//! A [`Walk`] plays a query through the engine. Where an upstream is needed it stops, and goes on with what the caller
//! heard: `pldns explain` and the admin listener ask over the network, tests by hand. No sockets and no clock here.

#![deny(clippy::indexing_slicing)]

mod case;
mod explanation;
mod failure;
mod judge;
mod notes;
mod public;
#[cfg(test)]
mod tests;
mod text;
mod walk;

pub use case::{Question, Seen, Surroundings, Unapproved};
pub use explanation::{
    Ask, Attempt, CacheStep, Cause, Compared, Explanation, Hidden, Link, Outcome, RejectedReload, Reply, RuleStep,
    ShownRecord, ShownUpstream, Step, TableStep, UpstreamStep, Verdict,
};
pub use text::wrapped;
pub use walk::Walk;

pub use crate::wire::is_private;

use crate::wire::Name;

/// What is known of Azure's names. Data, because the server side does not know Azure.
#[derive(Debug, Clone, Copy)]
pub struct AzureNames {
    /// The names in privatelink zones of a public name; none where it has no such form.
    pub private_names: fn(&Name) -> Vec<Name>,
    /// The public names of a name in a privatelink zone.
    pub public_names: fn(&Name) -> Vec<Name>,
    /// Whether a service of Azure that supports private endpoints has names like this one.
    pub is_service_name: fn(&Name) -> bool,
}

/// Whether a name is in one of Azure's private DNS zones.
pub fn is_privatelink(name: &Name) -> bool {
    name.is_privatelink()
}
