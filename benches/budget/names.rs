//! The names of the simulated world. What a name is follows from its text alone, so that the upstream needs no data and
//! a client knows the right answer.
//!
//! ```text
//! n12.z12.contoso.example     an address, TTL 300
//! n13.blob.core.windows.net   an alias (TTL 300) to n13.privatelink.blob.core.windows.net, an address with TTL 10
//! u…                          the same two kinds, never asked before
//! s7.slow.example             an address, TTL 300, after four seconds
//! ```

use std::net::Ipv4Addr;

use crate::dns::address_of;

/// Below it names are aliases into a private zone.
const PUBLIC_ZONE: &str = ".blob.core.windows.net";
/// The private zone.
const PRIVATE_ZONE: &str = ".privatelink.blob.core.windows.net";
/// Names that answer late.
const SLOW_ZONE: &str = ".slow.example";
/// TTL of what hardly changes, seconds.
const TTL: u32 = 300;
/// TTL of a private endpoint's address, seconds.
const TTL_PRIVATE: u32 = 10;

/// Which of the world's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One of the names that clients ask again and again.
    Known,
    /// One that nobody asked before.
    New,
    /// One that takes four seconds.
    Slow,
}

/// A name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BenchName {
    pub(crate) kind: Kind,
    pub(crate) number: u32,
}

impl BenchName {
    fn label(self) -> String {
        let letter = match self.kind {
            Kind::Known => 'n',
            Kind::New => 'u',
            Kind::Slow => 's',
        };
        format!("{letter}{}", self.number)
    }

    /// In presentation form.
    pub(crate) fn text(self) -> String {
        let label = self.label();
        match self.kind {
            Kind::Slow => format!("{label}{SLOW_ZONE}"),
            _ if self.number % 2 == 1 => format!("{label}{PUBLIC_ZONE}"),
            _ => format!("{label}.z{}.contoso.example", self.number % 64),
        }
    }

    /// The right answer.
    pub(crate) fn address(self) -> Ipv4Addr {
        address_of(&self.label())
    }
}

/// What the upstream knows of a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) is_slow: bool,
    pub(crate) aliases: Vec<(String, u32)>,
    pub(crate) address: Option<(Ipv4Addr, u32)>,
}

/// Looks a name up, lower case and without the last dot.
pub(crate) fn facts(name: &str) -> Facts {
    let (label, _) = name.split_once('.').unwrap_or((name, ""));
    let is_ours = name.ends_with(".example") || name.ends_with(PUBLIC_ZONE);
    let is_private = name.ends_with(PRIVATE_ZONE);
    let is_alias = name.ends_with(PUBLIC_ZONE) && !is_private;
    let ttl = if is_private || is_alias { TTL_PRIVATE } else { TTL };
    Facts {
        is_slow: name.ends_with(SLOW_ZONE),
        aliases: is_alias.then(|| (format!("{label}{PRIVATE_ZONE}"), TTL)).into_iter().collect(),
        address: is_ours.then(|| (address_of(label), ttl)),
    }
}
