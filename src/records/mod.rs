//! The records table: files in, a compiled [`Table`] out.
//!
//! [`read_records`] reads the TOML format that people and `pldns generate` write ([`file`](mod@file)): records in the usual
//! shape by hand, all else through the TOML parser. [`compile()`] checks records against each other and lays them out.
//! [`Table`] is what a query sees: one probe for an exact name, a walk up the labels for partial wildcards,
//! wildcards (RFC 4592) and empty non-terminals, and answers whose bytes are ready to be copied.
//!
//! Nothing here knows clients' sockets, upstreams or Azure.

#![deny(clippy::indexing_slicing)]

mod compile;
mod entry;
pub mod file;
mod layout;
mod packed;
mod place;
mod plain;
mod read;
mod remark;
mod reverse;
mod slot;
mod soa;
mod spec;
mod table;
mod view;
mod zone;

pub use compile::{TableSettings, compile};
pub use entry::{Rrset, push_record};
pub use packed::Packed;
pub use place::RecordPlace;
pub(crate) use read::by_each_reader;
pub use read::read_records;
pub use slot::NameHash;
pub use soa::Soa;
pub use spec::ttl_seconds;
pub use table::{Lookup, Match, Pointers, Table, TableStats};
pub use view::Views;
pub use zone::{Missing, ZONES_MAX, Zone};
