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

mod explanation;
mod judge;
mod notes;
#[cfg(test)]
mod tests;
mod text;
mod walk;

pub use explanation::{
    Ask, CacheStep, Cause, Compared, Explanation, Hidden, Link, Outcome, RejectedReload, Reply, RuleStep, ShownRecord,
    ShownUpstream, Step, TableStep, Try, UpstreamStep, Verdict,
};
pub use text::wrapped;
pub use walk::{Question, Walk};

use std::net::IpAddr;

use crate::wire::Name;
use crate::wire::name::labels;

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

/// Whether a name is in one of Azure's private DNS zones: it has a label that begins with `privatelink`.
pub fn is_privatelink(name: &Name) -> bool {
    labels(name.as_wire()).any(|label| {
        let start = label.get(.."privatelink".len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(b"privatelink"))
    })
}

/// Whether an address can only be reached inside a network: private, shared, link-local, unique local or loopback.
pub fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}
