//! Records in the formats of those who read them: one file a format.
//!
//! A printer gets parsed names and addresses and quotes as its format demands. What it prints holds exactly the given
//! records and nothing else, whatever the metadata held. What a format cannot express is left out, named in a comment of
//! the file and in [`Printed::left_out`]: views and partial wildcards, which are pldns's own, are left out of most.

mod azure_cli;
mod bind;
mod coredns;
mod dnsmasq;
mod hosts;
mod powershell;
mod sheet;
mod terraform;
#[cfg(test)]
mod tests;
mod toml;
mod unbound;
mod zone;

use super::records::Records;
pub(super) use azure_cli::quoted as posix_quoted;
pub(super) use powershell::quoted as powershell_quoted;
use sheet::Sheet;

/// How records are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The records file that `serve` loads.
    Toml,
    /// A hosts file.
    Hosts,
    /// Master files (RFC 1035 §5), one zone after the other.
    Zone,
    /// Local data of Unbound.
    Unbound,
    /// A response policy zone of BIND.
    Bind,
    /// Settings of dnsmasq.
    Dnsmasq,
    /// A snippet of a Corefile.
    Coredns,
    /// Commands of PowerShell for DNS on Windows Server.
    Powershell,
    /// Commands of the Azure CLI for private DNS zones.
    AzureCli,
    /// Resources of Terraform for private DNS zones.
    Terraform,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Toml,
        Self::Hosts,
        Self::Zone,
        Self::Unbound,
        Self::Bind,
        Self::Dnsmasq,
        Self::Coredns,
        Self::Powershell,
        Self::AzureCli,
        Self::Terraform,
    ];

    /// The word for it on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Toml => "toml",
            Self::Hosts => "hosts",
            Self::Zone => "zone",
            Self::Unbound => "unbound",
            Self::Bind => "bind",
            Self::Dnsmasq => "dnsmasq",
            Self::Coredns => "coredns",
            Self::Powershell => "powershell",
            Self::AzureCli => "azure-cli",
            Self::Terraform => "terraform",
        }
    }
}

/// What was printed.
#[derive(Debug)]
pub struct Printed {
    /// The text.
    pub text: String,
    /// How many records are in it.
    pub records: usize,
    /// What the format cannot express.
    pub left_out: Vec<LeftOut>,
}

/// A record that a format cannot express.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name and type, printable.
    pub record: String,
    /// Why.
    pub reason: &'static str,
}

/// Prints records. The same records give the same bytes.
pub fn print(records: &Records, format: Format) -> Printed {
    match format {
        Format::Toml => toml::print(records),
        Format::Hosts => hosts::print(records),
        Format::Zone => zone::print(records),
        Format::Unbound => unbound::print(records),
        Format::Bind => bind::print(records),
        Format::Dnsmasq => dnsmasq::print(records),
        Format::Coredns => coredns::print(records),
        Format::Powershell => powershell::print(records),
        Format::AzureCli => azure_cli::print(records),
        Format::Terraform => terraform::print(records),
    }
}
