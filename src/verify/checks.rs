//! What the records promise, as questions with their answers.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::Observed;
use serde::Serialize;

use crate::cache::Cache;
use crate::engine::{Client, Engine, Explained, Snapshot};
use crate::explain::{AzureNames, is_privatelink};
use crate::forward::LoopGuard;
use crate::records::Lookup;
use crate::wire::name::{is_wildcard, partial_wildcard};
use crate::wire::{Name, Rcode, Rtype, Transport};

/// What stands for `*` in the example of a wildcard.
const EXAMPLE: &[u8] = b"pldns-verify";

/// One question with its answer.
#[derive(Debug, Clone)]
pub struct Check {
    /// The name.
    pub name: Name,
    /// The type.
    pub rtype: Rtype,
    /// The answer.
    pub expected: Expected,
}

/// What an answer must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// This, exactly.
    Answer(Observed),
    /// A public name, asked of upstreams, that leads to these addresses of its privatelink name.
    LeadsTo(Observed),
}

impl Expected {
    /// The answer.
    pub fn observed(&self) -> &Observed {
        match self {
            Self::Answer(observed) | Self::LeadsTo(observed) => observed,
        }
    }
}

/// What could not be checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unchecked {
    /// The owner name of the records, or the name that was asked for.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub rtype: String,
    /// Why not.
    pub reason: String,
}

/// All that is to be checked, and what cannot be.
#[derive(Debug, Default)]
pub struct Plan {
    /// The questions, each once.
    pub checks: Vec<Check>,
    /// What this client cannot check.
    pub unchecked: Vec<Unchecked>,
    known: HashSet<(Name, Rtype)>,
}

/// Plans the checks of all that `snapshot` promises to a client.
pub fn plan(snapshot: &Snapshot, azure: AzureNames, client: IpAddr, now: Instant) -> Plan {
    let engine = Engine::new(Arc::new(Cache::new(0)), LoopGuard::default());
    let table = &snapshot.table;
    let mut plan = Plan::default();
    let expected = |name: &Name, rtype: Rtype| -> Option<Observed> {
        let client = Client { address: client, transport: Transport::Tcp };
        match engine.explain(snapshot, (name, rtype), client, now, &()) {
            Explained::Replied { source: Ok(_), reply } => Observed::read(&reply, rtype),
            _ => None,
        }
    };
    for (owner, set) in table.iter() {
        let Some(owner) = Name::from_wire(owner) else { continue };
        let is_pattern = is_wildcard(owner.as_wire()) || partial_wildcard(owner.as_wire()).is_some();
        let Some(name) = example(&owner) else { continue };
        if table.views().fit(set.view, client).is_none() {
            let networks: Vec<_> = table.views().clients(set.view).iter().map(ToString::to_string).collect();
            let reason = format!("only for clients in {}, and this one is {client}", networks.join(", "));
            plan.unchecked.push(Unchecked { name: owner.to_string(), rtype: set.rtype.to_string(), reason });
            continue;
        }
        plan.add(&name, set.rtype, expected(&name, set.rtype));
        if set.rtype == Rtype::A {
            plan.add(&name, Rtype::AAAA, expected(&name, Rtype::AAAA));
        }
        if !matches!(set.rtype, Rtype::A | Rtype::AAAA) || is_pattern {
            continue;
        }
        for (_, data) in set.iter() {
            if let Some(reverse) = reverse_name(data) {
                plan.add(&reverse, Rtype::PTR, expected(&reverse, Rtype::PTR));
            }
        }
        if !is_privatelink(&owner) {
            continue;
        }
        let Some(addresses) = expected(&owner, set.rtype).filter(|found| found.rcode == Rcode::NOERROR) else {
            continue;
        };
        for public in (azure.public_names)(&owner) {
            let found = table.lookup(public.to_lowercase().as_wire(), set.rtype, client);
            if matches!(found, Lookup::Missing) && plan.known.insert((public.clone(), set.rtype)) {
                let expected = Expected::LeadsTo(addresses.clone());
                plan.checks.push(Check { name: public, rtype: set.rtype, expected });
            }
        }
    }
    plan
}

impl Plan {
    fn add(&mut self, name: &Name, rtype: Rtype, expected: Option<Observed>) {
        // What upstreams decide is no promise of the records.
        let Some(expected) = expected else { return };
        if self.known.insert((name.clone(), rtype)) {
            self.checks.push(Check { name: name.clone(), rtype, expected: Expected::Answer(expected) });
        }
    }
}

/// A name that an owner stands for: the name itself, or with an example in place of the `*`.
fn example(owner: &Name) -> Option<Name> {
    let first = owner.labels().next()?;
    let Some(star) = first.iter().position(|&byte| byte == b'*') else {
        return Some(owner.clone());
    };
    let (begin, end) = (first.get(..star)?, first.get(star + 1..)?);
    let room = 63_usize.saturating_sub(begin.len() + end.len()).min(EXAMPLE.len());
    owner.parent()?.child(&[begin, EXAMPLE.get(..room)?, end].concat())
}

/// The name under in-addr.arpa or ip6.arpa of an address in wire form.
fn reverse_name(data: &[u8]) -> Option<Name> {
    let text = match data.len() {
        4 => data.iter().rev().map(|byte| format!("{byte}.")).collect::<String>() + "in-addr.arpa",
        16 => {
            data.iter().rev().map(|byte| format!("{:x}.{:x}.", byte & 15, byte >> 4)).collect::<String>() + "ip6.arpa"
        }
        _ => return None,
    };
    Name::parse(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_checked_by_example() {
        for (owner, expected) in [
            ("a.example", "a.example"),
            ("*.wild.example", "pldns-verify.wild.example"),
            ("*-eastus-x.example", "pldns-verify-eastus-x.example"),
            ("ci-anna-*.example", "ci-anna-pldns-verify.example"),
        ] {
            assert_eq!(example(&Name::parse(owner).unwrap()).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn reverse_names_of_both_families() {
        assert_eq!(reverse_name(&[10, 1, 0, 5]).unwrap().to_string(), "5.0.1.10.in-addr.arpa");
        let v6 = reverse_name(&"fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets()).unwrap().to_string();
        assert!(v6.starts_with("1.0.0.") && v6.ends_with(".d.f.ip6.arpa"), "{v6}");
    }
}
