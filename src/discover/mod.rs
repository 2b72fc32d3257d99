//! Live discovery: private endpoints of Azure subscriptions become records by themselves.
//!
//! ```text
//! token ─> arm: lists of endpoints, interfaces, networks, workspaces, computes ─> estate: what each endpoint lists
//!       ─> state: joined with the rounds before (grace, subscriptions that failed) ─> records, views ─> a records text
//! ```
//!
//! It runs on a thread of its own with blocking calls: nothing of it can delay an answer. Names of Azure's services are
//! resolved straight at the upstreams of their rule, because this server may be the machine's own resolver. What a round
//! found is used only where a subscription was read completely; else what was known of it stays. The records table is all
//! that this module and the server have in common: the loader takes the text as it takes a file.
//!
//! Sources: the REST references of Microsoft.Network, Microsoft.MachineLearningServices and Microsoft.Management, and
//! "How managed identities for Azure resources work" of the Azure documentation.

#![expect(clippy::disallowed_methods, reason = "the shell owns the clock and reads files")]

mod arm;
mod client;
mod cloud;
mod drift;
mod estate;
mod expected;
mod names;
mod object;
mod page;
mod round;
mod shapes;
mod state;
mod status;
mod token;
mod worker;
mod zone_groups;

pub use arm::Failure;
pub use drift::{Drift, DriftKind};
pub use round::{RoundReport, once};
pub use state::{Discovered, DiscoveredRecord};
pub use status::{Status, Summary};
pub use worker::{Discovery, Starter, start};
