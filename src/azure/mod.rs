//! What is known of Azure: clouds, private DNS zones, names of workspaces, the shapes of metadata.
//!
//! Facts and their reading, no decisions: which records follow from them is [`generate`](crate::generate)'s matter.
//! Nothing here opens a file or a socket, and nothing here knows of the server; the records table is all that both
//! have in common. Everything that is read here was written by others, so it is bounded, checked and never trusted to
//! be plain text: a name becomes a [`HostName`] or a problem.
//!
//! Sources: the pages "Azure private endpoint private DNS zone values" and "Use your workspace with a custom DNS
//! server" of the Azure documentation, and recorded answers of Azure Resource Manager.

mod cloud;
mod host_name;
pub mod metadata;
mod private_zone;
mod resource;
mod suffix;
pub mod workspace;
mod zone_table;
mod zones;

pub use cloud::Cloud;
pub use host_name::{HostName, HostNameError, is_privatelink_label};
pub use private_zone::{PrivateDnsZone, Service};
pub use resource::ResourceId;
pub use zone_table::{DATE as ZONES_DATE, DOCUMENT as ZONES_DOCUMENT};
pub use zones::{
    belongs_to, cloud_of, known_zones, matches_suffix, private_names, public_names, public_zone, with_vault_names,
    zones, zones_of_service,
};
