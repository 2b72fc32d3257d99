//! The kinds of fields, and which code reads and prints each.

use super::address as a;
use super::bitmap as b;
use super::encoded::{BASE64, HEX};
use super::number::{self as n, Mnemonics};
use super::relay as r;
use super::text as t;
use super::token::Tokens;
use super::wire::{Wire, Words};
use super::{Fault, location, service, time};

/// A kind of field. Where a number is given, it is the smallest or the exact size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    U8,
    U16,
    U32,
    NamedU8(Mnemonics),
    NamedU16(Mnemonics),
    /// 32 bits: seconds, or a period with units.
    Period,
    /// 32 bits: date and time, or seconds since 1970.
    Time,
    /// 64 bits: a node of the bundle protocol.
    Node,
    /// One record type.
    Type,
    /// Record types to the end.
    Types,
    Name,
    /// Names to the end, also none.
    Names,
    /// One character-string.
    String,
    /// One character-string or none.
    OptionalString,
    /// Character-strings to the end, at least one.
    Strings,
    /// One text that fills the rest.
    Long(usize),
    /// The tag of CAA.
    Tag,
    Ipv4,
    Ipv6,
    Eui(usize),
    /// 64 bits in four groups.
    Groups,
    Nsap,
    /// Hexadecimal to the end.
    Hex(usize),
    /// Base 64 to the end.
    Base64(usize),
    /// Hexadecimal or `-`, counted.
    Salt,
    /// Base 32, counted.
    Hash,
    /// Address prefixes to the end.
    Prefixes,
    /// Ports to the end.
    Ports,
    Location,
    /// Type, algorithm and gateway of IPSECKEY.
    Gateway,
    /// Bit, type and relay of AMTRELAY.
    Relay,
    /// Algorithm, tag and key of HIP.
    Identity,
    /// Base 64 to the end, or `-`.
    Object,
    /// Parameters of SVCB to the end.
    Parameters,
}

impl Field {
    /// Reads the field from text.
    pub(super) fn read(self, tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            Self::U8 => n::read::<1>(tokens, rdata),
            Self::U16 => n::read::<2>(tokens, rdata),
            Self::U32 => n::read::<4>(tokens, rdata),
            Self::NamedU8(names) => n::read_named_u8(names, tokens, rdata),
            Self::NamedU16(names) => n::read_named_u16(names, tokens, rdata),
            Self::Period => n::read_period(tokens, rdata),
            Self::Time => time::read(tokens, rdata),
            Self::Node => n::read_node(tokens, rdata),
            Self::Type => b::read_type(tokens, rdata),
            Self::Types => b::read_types(tokens, rdata),
            Self::Name => t::read_name(tokens, rdata),
            Self::Names => t::read_names(tokens, rdata),
            Self::String => t::read_string(tokens, rdata),
            Self::OptionalString => t::read_optional_string(tokens, rdata),
            Self::Strings => t::read_strings(tokens, rdata),
            Self::Long(min) => t::read_long(min, tokens, rdata),
            Self::Tag => t::read_tag(tokens, rdata),
            Self::Ipv4 => a::read_ipv4(tokens, rdata),
            Self::Ipv6 => a::read_ipv6(tokens, rdata),
            Self::Eui(len) => a::read_eui(len, tokens, rdata),
            Self::Groups => a::read_groups(tokens, rdata),
            Self::Nsap => a::read_nsap(tokens, rdata),
            Self::Hex(min) => HEX.read_rest(tokens, rdata, min),
            Self::Base64(min) => BASE64.read_rest(tokens, rdata, min),
            Self::Salt => r::read_salt(tokens, rdata),
            Self::Hash => r::read_hash(tokens, rdata),
            Self::Prefixes => a::read_prefixes(tokens, rdata),
            Self::Ports => b::read_ports(tokens, rdata),
            Self::Location => location::read(tokens, rdata),
            Self::Gateway => r::read_gateway(tokens, rdata),
            Self::Relay => r::read_relay(tokens, rdata),
            Self::Identity => r::read_identity(tokens, rdata),
            Self::Object => r::read_object(tokens, rdata),
            Self::Parameters => service::read(tokens, rdata),
        }
    }

    /// Prints the field from wire form; nothing when the bytes do not fit.
    pub(super) fn present(self, wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
        match self {
            Self::U8 | Self::NamedU8(_) => n::present_u8(wire, words),
            Self::U16 | Self::NamedU16(_) => n::present_u16(wire, words),
            Self::U32 | Self::Period => n::present_u32(wire, words),
            Self::Time => time::present(wire, words),
            Self::Node => n::present_u64(wire, words),
            Self::Type => b::present_type(wire, words),
            Self::Types => b::present_types(wire, words),
            Self::Name => t::present_name(wire, words),
            Self::Names => t::present_names(wire, words),
            Self::String => t::present_string(wire, words),
            Self::OptionalString => t::present_optional_string(wire, words),
            Self::Strings => t::present_strings(wire, words),
            Self::Long(min) => t::present_long(min, wire, words),
            Self::Tag => t::present_tag(wire, words),
            Self::Ipv4 => a::present_ipv4(wire, words),
            Self::Ipv6 => a::present_ipv6(wire, words),
            Self::Eui(len) => a::present_eui(len, wire, words),
            Self::Groups => a::present_groups(wire, words),
            Self::Nsap => a::present_nsap(wire, words),
            Self::Hex(min) => HEX.present_rest(wire, words, min),
            Self::Base64(min) => BASE64.present_rest(wire, words, min),
            Self::Salt => r::present_salt(wire, words),
            Self::Hash => r::present_hash(wire, words),
            Self::Prefixes => a::present_prefixes(wire, words),
            Self::Ports => b::present_ports(wire, words),
            Self::Location => location::present(wire, words),
            Self::Gateway => r::present_gateway(wire, words),
            Self::Relay => r::present_relay(wire, words),
            Self::Identity => r::present_identity(wire, words),
            Self::Object => r::present_object(wire, words),
            Self::Parameters => service::present(wire, words),
        }
    }
}
