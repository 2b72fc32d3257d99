//! What the guard found lately, each with the reason that `/explain` gives.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use super::Admin;
use super::explain::{CLIENT, explanation_at_hand};
use crate::engine::Finding;
use crate::explain::{Cause, Question};
use crate::wire::Rtype;

/// Findings that are kept, and shown together with drift.
pub(super) const FOUND_MAX: usize = 100;
/// Bytes of one: three names, the texts that name them, and itself.
pub const FOUND_BYTES: usize = FOUND_MAX * (8 << 10);

/// A finding.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    /// `public_answer` or `shadowed`.
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) client: Option<IpAddr>,
    pub(super) reason: String,
    pub(super) fix: Option<String>,
    pub(super) at: Instant,
}

/// The findings of the last time, the newest first.
#[derive(Debug, Default)]
pub struct Found(Mutex<VecDeque<Shown>>);

impl Found {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Shown>> {
        self.0.lock()
    }

    /// Adds one; an older one of the same name goes.
    fn push(&self, shown: Shown) {
        let mut all = self.lock();
        all.retain(|known| known.name != shown.name);
        all.truncate(FOUND_MAX - 1);
        all.push_front(shown);
    }

    pub(super) fn recent(&self) -> Vec<Shown> {
        self.lock().iter().cloned().collect()
    }
}

impl Admin {
    /// Keeps a finding for the status page; gives its probable reason. Nothing is asked for that: the answer is in the cache.
    pub fn keep_finding(&self, finding: &Finding, now: Instant) -> String {
        let (kind, name, client, otherwise) = match finding {
            Finding::Public { name, guarded, client, .. } => (
                "public_answer",
                name,
                Some(*client),
                format!("The answer is public, though {guarded} has a record here."),
            ),
            Finding::Shadowed { name, missing, zone } => (
                "shadowed",
                name,
                None,
                format!("The private DNS zone {zone} is linked to the network and has no record for {missing}."),
            ),
        };
        let question = Question { name: name.clone(), rtype: Rtype::A, client: client.unwrap_or(CLIENT) };
        let explanation = explanation_at_hand(self, question);
        // What was found may be of another type, or not in the cache any more.
        let (reason, fix) = match explanation.cause {
            Cause::NotAsked | Cause::Record | Cause::PrivateUpstream => (otherwise, None),
            _ => (explanation.reason, explanation.fix),
        };
        let fix = fix.or_else(|| Some("`pldns explain` names the reason and the fix.".to_owned()));
        self.found.push(Shown { kind, name: name.to_string(), client, reason: reason.clone(), fix, at: now });
        reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_each_name_once() {
        let found = Found::default();
        let at = Instant::now();
        for number in 0..1000 {
            let name = format!("n{}", number % 150);
            found.push(Shown { kind: "shadowed", name, client: None, reason: number.to_string(), fix: None, at });
        }
        let recent = found.recent();
        assert_eq!(recent.len(), FOUND_MAX);
        assert_eq!((recent[0].name.as_str(), recent[0].reason.as_str()), ("n99", "999"));
        assert!(recent.iter().all(|one| one.reason.parse::<u32>().unwrap() >= 900));
    }
}
