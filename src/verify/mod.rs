//! Whether a running server answers what the records promise.
//!
//! ```text
//! Table ─> checks (engine says what is expected) ─> run: UDP and TCP, bounded ─> Report: differences, drift, unchecked
//! ```
//!
//! What is expected comes from settings and records as files; what is found comes over the network. Nothing is changed.

mod checks;
mod encrypted;
mod queue;
mod report;
mod run;

pub use checks::{Check, Expected, Plan, Unchecked, plan};
pub use encrypted::{Listener, ListenerError, Over};
pub use report::{Difference, Discovered, Report};
pub use run::{Asked, run};

use crate::rdata::present;
use crate::wire::{Message, OwnedRecord, Rcode, Rtype, Section};

/// What a message says: its response code, and the data of the type asked for, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The response code.
    pub rcode: Rcode,
    /// The data in presentation format.
    pub data: Vec<String>,
    /// Whether it is truncated.
    pub truncated: bool,
}

impl Observed {
    /// Reads a message; `None` when it cannot be read to its end.
    pub fn read(message: &[u8], rtype: Rtype) -> Option<Self> {
        let truncated = crate::client::is_truncated(message);
        let message = Message::parse(message)?;
        let records = message.section(Section::Answer).filter(|record| record.rtype == rtype);
        let records = records.filter_map(|record| OwnedRecord::from_view(&message, record));
        let mut data: Vec<String> = records.map(|record| present(rtype, &record.data)).collect();
        data.sort_unstable();
        Some(Self { rcode: message.header.rcode(), data, truncated })
    }

    /// For people: data, or the response code.
    pub fn shown(&self) -> String {
        match (self.data.is_empty(), self.rcode) {
            (false, _) => self.data.join(", "),
            (true, Rcode::NOERROR) => "NODATA".to_owned(),
            (true, rcode) => rcode.to_string(),
        }
    }
}
