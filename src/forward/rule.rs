//! Rules: which upstreams a name is asked of. The longest zone wins.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::wire::Name;
use crate::wire::name::parent;

/// Azure DNS: the same address in every region and cloud, reachable from inside a virtual network only.
pub const AZURE_DNS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)), 53);

/// An upstream as a rule names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Where it is.
    pub address: SocketAddr,
    /// How it is asked.
    pub protocol: Protocol,
}

/// How an upstream is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// UDP, and TCP where an answer does not fit or is in doubt.
    Datagram,
    /// TCP alone.
    Tcp,
    /// DNS over TLS (RFC 7858), with a certificate for this name or address.
    Tls {
        /// A host name, or the address where the rule names none.
        server_name: Arc<str>,
    },
    /// DNS over HTTPS (RFC 8484), with a certificate for this name or address.
    Https {
        /// A host name, or the address where the rule names none.
        server_name: Arc<str>,
        /// The path of its resource, with the slash at its beginning.
        path: Arc<str>,
    },
}

impl Target {
    /// Whether this is Azure DNS, whose address is the same in every network.
    pub fn is_azure_dns(&self) -> bool {
        self.address == AZURE_DNS
    }
}

impl Target {
    /// The upstream in as few characters as name it: without the port where it is the usual one.
    pub fn short(&self) -> String {
        let usual = match self.protocol {
            Protocol::Datagram | Protocol::Tcp => 53,
            Protocol::Tls { .. } => 853,
            Protocol::Https { .. } => 443,
        };
        let long = self.to_string();
        match self.address {
            address if address.port() != usual => long,
            SocketAddr::V4(address) => long.replacen(&address.to_string(), &address.ip().to_string(), 1),
            SocketAddr::V6(address) => {
                let ip = match self.protocol {
                    Protocol::Datagram => address.ip().to_string(),
                    _ => format!("[{}]", address.ip()),
                };
                long.replacen(&address.to_string(), &ip, 1)
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        match &self.protocol {
            Protocol::Datagram => write!(f, "{address}"),
            Protocol::Tcp => write!(f, "tcp://{address}"),
            Protocol::Tls { server_name } => write!(f, "tls://{address}{}", Fragment(address, server_name)),
            Protocol::Https { server_name, path } => {
                write!(f, "https://{address}{path}{}", Fragment(address, server_name))
            }
        }
    }
}

/// The name of the certificate, where it is not the address itself.
struct Fragment<'a>(SocketAddr, &'a str);

impl fmt::Display for Fragment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(address, name) = self;
        if name.parse() == Ok(address.ip()) {
            return Ok(());
        }
        write!(f, "#{name}")
    }
}

/// A `[[forward]]` of the settings.
#[derive(Debug, PartialEq, Eq)]
pub struct ForwardRule {
    /// The zone whose names it is for.
    pub zone: Name,
    /// Whom to ask, in the order written.
    pub upstreams: Box<[Target]>,
    /// The longest TTL of its answers, seconds, where the rule has its own.
    pub max_ttl: Option<u32>,
    /// The longest life of its negative answers, seconds, where the rule has its own.
    pub max_negative_ttl: Option<u32>,
    /// The same number for every rule with the same upstreams: what tells their answers apart in the cache.
    pub upstream_set: u32,
}

/// What becomes of a name that the table does not have.
#[derive(Debug, Clone)]
pub enum Disposition {
    /// It is asked upstream.
    Forward(Arc<ForwardRule>),
    /// It is answered here.
    BuiltIn(BuiltIn),
}

/// Names that are answered here unless the settings say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltIn {
    /// `localhost` and below: the loopback addresses (RFC 6761 §6.3).
    Localhost,
    /// They do not exist: `invalid` (RFC 6761 §6.4), `onion` (RFC 7686 §2: such names never leave for the DNS), the
    /// browsers' canary `use-application-dns.net` (so that they keep to this server, which knows private endpoints), and
    /// `reddog.microsoft.com`, the search suffix that Azure gives to networks with custom DNS and that nothing ever
    /// resolves below.
    NxDomain,
    /// They exist without data: `resolver.arpa`, where clients ask a resolver for its encrypted listeners (RFC 9462 §4). An
    /// upstream's answer would name the upstream's own, and clients that go there no longer see private endpoints.
    NoData,
    /// The names that clients ask for the encrypted listeners of this server (RFC 9462 §4, RFC 9461): records that the
    /// settings make.
    Designated,
}

/// The name that clients ask before they know any of a resolver (RFC 9462 §4).
const DESIGNATED: &str = "_dns.resolver.arpa";

/// Zones that are answered here by default.
const HERE: [(&str, BuiltIn); 6] = [
    ("localhost", BuiltIn::Localhost),
    ("invalid", BuiltIn::NxDomain),
    ("onion", BuiltIn::NxDomain),
    ("resolver.arpa", BuiltIn::NoData),
    ("use-application-dns.net", BuiltIn::NxDomain),
    ("reddog.microsoft.com", BuiltIn::NxDomain),
];

/// All rules.
pub struct Rules {
    /// By zone, lower case wire form.
    by_zone: HashMap<Box<[u8]>, (Disposition, u8), foldhash::fast::RandomState>,
    /// Bit n of word m is set when a zone's name has 64 m + n bytes: others need not be looked for.
    lengths: [u64; 4],
    root: Disposition,
    number: u32,
}

impl Rules {
    /// The rules of the settings, and the names answered here but for those in `covered`, the zones that the
    /// settings name. `default` is the rule for the root.
    pub fn new(rules: impl IntoIterator<Item = Arc<ForwardRule>>, default: Arc<ForwardRule>, covered: &[Name]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed).max(1);
        let mut all =
            Self { by_zone: HashMap::default(), lengths: [0; 4], root: Disposition::Forward(default), number };
        for (zone, here) in HERE {
            if let Ok(zone) = Name::parse(zone)
                && !covered.contains(&zone)
            {
                all.insert(&zone, Disposition::BuiltIn(here));
            }
        }
        for rule in rules {
            let zone = rule.zone.clone();
            all.insert(&zone, Disposition::Forward(rule));
        }
        all
    }

    /// Has the names answered here by which clients find the encrypted listeners of the resolver `name`, unless the settings
    /// name the zone otherwise.
    pub fn designate(&mut self, name: &Name) {
        for name in [Name::parse(DESIGNATED).ok(), name.child(b"_dns")].into_iter().flatten() {
            if !self.by_zone.contains_key(name.to_lowercase().as_wire()) {
                self.insert(&name, Disposition::BuiltIn(BuiltIn::Designated));
            }
        }
    }

    fn insert(&mut self, zone: &Name, disposition: Disposition) {
        let len = zone.as_wire().len();
        if len == 1 {
            self.root = disposition;
            return;
        }
        if let Some(word) = self.lengths.get_mut(len / 64) {
            *word |= 1 << (len % 64);
        }
        self.by_zone.insert(zone.to_lowercase().as_wire().into(), (disposition, len as u8));
    }

    /// What the longest zone that holds `qname` (lower case wire form) says, and how many bytes of the name's end
    /// that zone's name is.
    pub fn find(&self, qname: &[u8]) -> (&Disposition, usize) {
        let has_zone_of = |len: usize| self.lengths.get(len / 64).is_some_and(|word| word & 1 << (len % 64) != 0);
        let mut name = qname;
        while name.len() > 1 {
            if has_zone_of(name.len())
                && let Some((disposition, len)) = self.by_zone.get(name)
            {
                return (disposition, *len as usize);
            }
            match parent(name) {
                Some(up) => name = up,
                None => break,
            }
        }
        (&self.root, 1)
    }

    /// A number that no other rules of this process have; never 0.
    #[inline]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether `lower_name` is sent to the upstreams of this set.
    pub fn gives_to(&self, lower_name: &[u8], upstream_set: u32) -> bool {
        match self.find(lower_name).0 {
            Disposition::Forward(rule) => rule.upstream_set == upstream_set,
            Disposition::BuiltIn(_) => false,
        }
    }

    /// How many zones have a rule of the settings.
    pub fn len(&self) -> usize {
        1 + self.by_zone.values().filter(|(disposition, _)| matches!(disposition, Disposition::Forward(_))).count()
    }

    /// There is always the rule for the root.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// All rules that forward.
    pub fn forwards(&self) -> impl Iterator<Item = &Arc<ForwardRule>> {
        std::iter::once(&self.root).chain(self.by_zone.values().map(|(disposition, _)| disposition)).filter_map(
            |disposition| match disposition {
                Disposition::Forward(rule) => Some(rule),
                Disposition::BuiltIn(_) => None,
            },
        )
    }
}

/// Numbers for sets of upstreams, the same for the same set through all reloads of a process.
#[derive(Debug, Default)]
pub struct UpstreamSets(HashMap<Vec<Target>, u32>);

impl UpstreamSets {
    /// The number of a set; order does not matter, for it does not change what answers may be.
    pub fn number(&mut self, upstreams: &[Target]) -> u32 {
        let mut set = upstreams.to_vec();
        set.sort_unstable();
        set.dedup();
        let next = self.0.len() as u32;
        *self.0.entry(set).or_insert(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(zone: &str) -> Arc<ForwardRule> {
        Arc::new(ForwardRule {
            zone: Name::parse(zone).unwrap(),
            upstreams: Box::default(),
            max_ttl: None,
            max_negative_ttl: None,
            upstream_set: 0,
        })
    }

    #[test]
    fn the_longest_zone_wins() {
        let rules = [rule("example"), rule("b.example"), rule("sub.reddog.microsoft.com"), rule("invalid")];
        let rules = Rules::new(rules, rule("."), &[Name::parse("invalid").unwrap()]);
        for (name, expected) in [
            ("a.example", "example"),
            ("example", "example"),
            ("a.b.example", "b.example"),
            ("ab.example", "example"),
            ("exampl", "."),
            (".", "."),
            ("x.invalid", "invalid"),
            ("x.localhost", "Localhost"),
            ("example.onion", "NxDomain"),
            ("_dns.resolver.arpa", "NoData"),
            ("10.in-addr.arpa", "."),
            ("x.reddog.microsoft.com", "NxDomain"),
            ("x.sub.reddog.microsoft.com", "sub.reddog.microsoft.com"),
            ("microsoft.com", "."),
        ] {
            let found = match rules.find(Name::parse(name).unwrap().as_wire()).0 {
                Disposition::Forward(rule) => rule.zone.to_string(),
                Disposition::BuiltIn(here) => format!("{here:?}"),
            };
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn names_belong_to_sets_of_upstreams() {
        let of_set =
            |zone, upstream_set| Arc::new(ForwardRule { upstream_set, ..Arc::into_inner(rule(zone)).unwrap() });
        let rules = [of_set("example", 1), of_set("b.example", 2), of_set("test", 0)];
        let (rules, later) = (Rules::new(rules, of_set(".", 0), &[]), Rules::new([], rule("."), &[]));
        for (name, set) in [("a.example", 1), ("b.example", 2), ("x.test", 0), ("x.org", 0)] {
            let name = Name::parse(name).unwrap();
            assert_eq!((0..4).filter(|&other| rules.gives_to(name.as_wire(), other)).collect::<Vec<_>>(), [set]);
        }
        let here = Name::parse("x.onion").unwrap();
        assert!((0..4).all(|set| !rules.gives_to(here.as_wire(), set)), "answered here");
        assert!(rules.number() != 0 && rules.number() != later.number());
    }

    #[test]
    fn the_same_upstreams_have_the_same_number() {
        let target = |port| Target { address: SocketAddr::from(([10, 0, 0, 4], port)), protocol: Protocol::Datagram };
        let mut sets = UpstreamSets::default();
        let first = sets.number(&[target(53), target(54)]);
        assert_eq!(sets.number(&[target(54), target(53)]), first);
        assert_ne!(sets.number(&[target(53)]), first);
    }
}
