//! Records in the formats of those who read them: one file a format.
//!
//! A printer gets parsed names and addresses and quotes as its format demands. What it prints holds exactly the given
//! records and nothing else, whatever stood in the metadata.

mod toml;

use super::records::Records;

/// How records are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The records file that `serve` loads.
    Toml,
}

/// Prints records. The same records give the same bytes.
pub fn print(records: &Records, format: Format) -> String {
    match format {
        Format::Toml => toml::print(records),
    }
}
