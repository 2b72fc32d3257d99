//! The guard: public addresses in answers for names whose service has a private endpoint record here, and private DNS zones
//! that shadow names.
//!
//! Whether an answer concerns it is found out once for each answer and reload, with the rules' acceptance (`responsible.rs`): a
//! cached answer that does not, pays nothing. What is found is counted and queued here; the shell logs it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::chain::Chain;
use super::{Action, AnswerSource, Context, Engine, Observer, PublicAction, Step, write};
use crate::forward::ForwardRule;
use crate::records::Table;
use crate::wire::edns::push_extended_error;
use crate::wire::name::{is_privatelink, is_wildcard, labels, parent, partial_wildcard};
use crate::wire::{ExtendedError, Name, NameBuf, OwnedRecord, Rcode, Rtype, Section, is_private_address};

/// How often the same name is reported.
const INTERVAL: Duration = Duration::from_secs(600);
/// Names that are remembered as reported; findings that wait to be logged.
const NAMES_MAX: usize = 1000;
const QUEUE_MAX: usize = 100;
/// Zones that are counted one by one; the others count as `other`.
const ZONES_MAX: usize = 100;
/// The text beside the extended error of an answer that passes.
const WARNING: &str = "public address, but a private endpoint record exists here";

/// What a first label has before and after its `*`.
type Fixed = (Box<[u8]>, Box<[u8]>);

/// Which names are guarded, and how.
#[derive(Debug)]
pub struct PublicGuard {
    action: PublicAction,
    except: Vec<Name>,
    /// Asked where a privatelink zone says that a privatelink name does not exist.
    fallback: Option<Arc<ForwardRule>>,
    /// The public forms of a name in a privatelink zone.
    public_names: fn(&Name) -> Vec<Name>,
    hasher: foldhash::fast::RandomState,
    /// Hashes of the public forms of all privatelink names that have addresses in the table, in any view. Two names with
    /// one hash of 64 bits are taken for one.
    forms: HashSet<u64, foldhash::fast::RandomState>,
    /// What wildcards and partial wildcards with addresses, and their public forms, have before and after the `*`, by the name
    /// above. Lower case.
    patterns: HashMap<Box<[u8]>, Vec<Fixed>>,
}

impl PublicGuard {
    /// Guards the names of `table`. `public_names` gives the public forms of a privatelink name.
    pub fn new(
        action: PublicAction,
        except: Vec<Name>,
        fallback: Option<Arc<ForwardRule>>,
        table: &Table,
        public_names: fn(&Name) -> Vec<Name>,
    ) -> Self {
        let mut guard = Self {
            action,
            except,
            fallback,
            public_names,
            hasher: foldhash::fast::RandomState::default(),
            forms: HashSet::default(),
            patterns: HashMap::new(),
        };
        for (owner, set) in table.iter() {
            let is_pattern = is_wildcard(owner) || partial_wildcard(owner).is_some();
            let is_private = is_privatelink(owner);
            if !matches!(set.rtype, Rtype::A | Rtype::AAAA) || !(is_pattern || is_private) {
                continue;
            }
            let Some(name) = Name::from_wire(owner) else { continue };
            let publics = if is_private { public_names(&name) } else { Vec::new() };
            for name in publics.into_iter().chain(is_pattern.then_some(name)) {
                guard.add(&name.to_lowercase(), is_pattern);
            }
        }
        guard
    }

    fn add(&mut self, name: &Name, is_pattern: bool) {
        if !is_pattern {
            self.forms.insert(self.hash(name.as_wire()));
            return;
        }
        let (Some(label), Some(above)) = (labels(name.as_wire()).next(), parent(name.as_wire())) else { return };
        let Some(star) = label.iter().position(|&byte| byte == b'*') else { return };
        let (begin, end) = (label.get(..star).unwrap_or_default(), label.get(star + 1..).unwrap_or_default());
        let fixed = (begin.into(), end.into());
        let known = self.patterns.entry(above.into()).or_default();
        if !known.contains(&fixed) {
            known.push(fixed);
        }
    }

    fn hash(&self, lower_name: &[u8]) -> u64 {
        let mut hash = self.hasher.build_hasher();
        hash.write(lower_name);
        hash.finish()
    }

    /// Whether the service of a name (lower case wire form) has a private endpoint record in the table, in any view.
    fn covers(&self, table: &Table, lower_name: &[u8]) -> bool {
        if self.has(table, lower_name) {
            return true;
        }
        // The public form has the record, and the privatelink form is asked for or led to.
        is_privatelink(lower_name)
            && Name::from_wire(lower_name).is_some_and(|name| {
                (self.public_names)(&name).iter().any(|public| self.has(table, public.to_lowercase().as_wire()))
            })
    }

    fn has(&self, table: &Table, lower_name: &[u8]) -> bool {
        table.rrsets(lower_name).any(|set| matches!(set.rtype, Rtype::A | Rtype::AAAA))
            || (!self.forms.is_empty() && self.forms.contains(&self.hash(lower_name)))
            || self.fits_pattern(lower_name)
    }

    fn fits_pattern(&self, lower_name: &[u8]) -> bool {
        if self.patterns.is_empty() {
            return false;
        }
        let Some(label) = labels(lower_name).next() else { return false };
        let mut above = parent(lower_name);
        let mut is_parent = true;
        while let Some(name) = above {
            let fits = |(begin, end): &Fixed| {
                let is_whole = begin.is_empty() && end.is_empty();
                is_whole
                    || (is_parent
                        && label.len() > begin.len() + end.len()
                        && label.starts_with(begin)
                        && label.ends_with(end))
            };
            if self.patterns.get(name).is_some_and(|patterns| patterns.iter().any(fits)) {
                return true;
            }
            (above, is_parent) = (parent(name), false);
        }
        false
    }

    fn excepts(&self, name: &Name) -> bool {
        self.except.iter().any(|suffix| name.is_within(suffix))
    }

    /// Whether an answer with a public address concerns the guard: one of its names is covered.
    pub(super) fn concerns<'n>(&self, table: &Table, mut lower_names: impl Iterator<Item = &'n [u8]>) -> bool {
        lower_names.any(|name| self.covers(table, name))
    }
}

/// What was found, to be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A public address came for a name whose service has a private endpoint record here.
    Public {
        /// The name that the client asked for.
        name: Name,
        /// The name that has the record.
        guarded: Name,
        /// The client.
        client: IpAddr,
        /// What was done.
        action: PublicAction,
    },
    /// A private DNS zone that is linked to the network lacks a name.
    Shadowed {
        /// The name that the client asked for.
        name: Name,
        /// The privatelink name.
        missing: Name,
        /// The zone.
        zone: Name,
    },
}

impl Finding {
    /// The name that the client asked for.
    pub fn name(&self) -> &Name {
        match self {
            Self::Public { name, .. } | Self::Shadowed { name, .. } => name,
        }
    }
}

/// What the guard counted, and what waits to be logged.
#[derive(Debug, Default)]
pub struct Findings {
    public: [AtomicU64; PublicAction::ALL.len()],
    fallback: AtomicU64,
    shadowed: Mutex<BTreeMap<Box<str>, u64>>,
    reported: Mutex<(HashMap<Name, Instant>, VecDeque<Finding>)>,
}

impl Findings {
    /// Public answers by what was done with them.
    pub fn public_answers(&self) -> impl Iterator<Item = (PublicAction, u64)> {
        PublicAction::ALL.into_iter().zip(&self.public).map(|(action, count)| (action, count.load(Ordering::Relaxed)))
    }

    /// Questions that went to the fallback.
    pub fn fallbacks(&self) -> u64 {
        self.fallback.load(Ordering::Relaxed)
    }

    /// Shadowed answers by zone; zones beyond the first hundred as `other`.
    pub fn shadowed(&self) -> Vec<(Box<str>, u64)> {
        self.shadowed.lock().iter().map(|(zone, count)| (zone.clone(), *count)).collect()
    }

    /// What was found since the last call: each name once in ten minutes.
    pub fn take(&self) -> Vec<Finding> {
        self.reported.lock().1.drain(..).collect()
    }

    fn count_public(&self, action: PublicAction) {
        if let Some(counter) = self.public.get(action as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count_shadowed(&self, zone: &Name) {
        let mut zones = self.shadowed.lock();
        let zone = zone.to_lowercase().to_string();
        let is_room = zones.len() < ZONES_MAX || zones.contains_key(zone.as_str());
        let word = if is_room { zone.into_boxed_str() } else { "other".into() };
        *zones.entry(word).or_default() += 1;
    }

    fn report(&self, finding: Finding, now: Instant) {
        let mut reported = self.reported.lock();
        let (names, queue) = &mut *reported;
        if names.get(finding.name()).is_some_and(|at| now.saturating_duration_since(*at) < INTERVAL) {
            return;
        }
        if names.len() >= NAMES_MAX {
            names.retain(|_, at| now.saturating_duration_since(*at) < INTERVAL);
        }
        if names.len() < NAMES_MAX && queue.len() < QUEUE_MAX {
            names.insert(finding.name().clone(), now);
            queue.push_back(finding);
        }
    }
}

impl Engine {
    /// Ends a chain with what an upstream said of its last name: the fallback is asked where a private DNS zone shadows the
    /// name, public addresses of guarded names are refused or marked, all else is the reply.
    pub(super) fn end_chain(
        &self,
        context: &Context<'_, impl Observer>,
        mut chain: Chain,
        source: AnswerSource,
        reply: &mut Vec<u8>,
    ) -> Action {
        if let Some(zone) = shadowing_zone(&chain) {
            let name = chain.name();
            self.note_shadowed(context, &chain, &name, zone);
            if let Some(rule) = context.snapshot.guard.fallback.as_ref().filter(|_| chain.may_fall_back()) {
                if !watches(context) {
                    self.findings.fallback.fetch_add(1, Ordering::Relaxed);
                }
                chain.fall_back();
                let mut name_buf = NameBuf::new();
                return self.look_up_last(context, chain, name_buf.lower(name.as_wire()), rule, reply);
            }
        }
        let guard = &context.snapshot.guard;
        let Some(guarded) = self.guarded_name(context, &chain) else {
            return chain.write(context, source, reply);
        };
        context.observer.step(Step::Guard { name: guarded.to_lowercase().as_wire(), action: guard.action });
        if !watches(context) {
            self.findings.count_public(guard.action);
            if guard.action != PublicAction::Allow {
                let name = chain.first_name();
                let (client, action) = (context.client.address, guard.action);
                self.findings.report(Finding::Public { name, guarded, client, action }, context.now);
            }
        }
        match guard.action {
            PublicAction::Allow => chain.write(context, source, reply),
            PublicAction::Warn => {
                push_extended_error(chain.errors_mut(), ExtendedError::OTHER.0.to_be_bytes(), WARNING);
                chain.write(context, source, reply)
            }
            PublicAction::Refuse => write::failure(context, ExtendedError::FILTERED, reply),
        }
    }

    /// The name of a chain whose service has a private endpoint record here, where the chain ends in a public address.
    fn guarded_name(&self, context: &Context<'_, impl Observer>, chain: &Chain) -> Option<Name> {
        let (guard, table) = (&context.snapshot.guard, &context.snapshot.table);
        if !chain.records().iter().any(is_public) || chain.names().iter().any(|name| guard.excepts(name)) {
            return None;
        }
        chain.names().iter().find(|name| guard.covers(table, name.to_lowercase().as_wire())).cloned()
    }

    fn note_shadowed(&self, context: &Context<'_, impl Observer>, chain: &Chain, missing: &Name, zone: Name) {
        if watches(context) {
            return;
        }
        self.findings.count_shadowed(&zone);
        let (name, missing) = (chain.first_name(), missing.clone());
        self.findings.report(Finding::Shadowed { name, missing, zone }, context.now);
    }
}

/// Whether the query is only played through.
fn watches<O: Observer>(_: &Context<'_, O>) -> bool {
    O::IS_WATCHING
}

/// The privatelink zone that says that the chain's last name, one below it, does not exist.
fn shadowing_zone(chain: &Chain) -> Option<Name> {
    if chain.rcode() != Rcode::NXDOMAIN {
        return None;
    }
    let name = chain.name();
    let is_soa = |record: &&OwnedRecord| record.section == Section::Authority && record.rtype == Rtype::SOA;
    let soa = chain.records().iter().find(is_soa)?;
    (soa.owner.is_privatelink() && name.is_within(&soa.owner)).then(|| soa.owner.clone())
}

fn is_public(record: &OwnedRecord) -> bool {
    record.section == Section::Answer
        && matches!(record.rtype, Rtype::A | Rtype::AAAA)
        && is_private_address(&record.data).is_some_and(|is_private| !is_private)
}
