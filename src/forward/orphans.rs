//! Tries whose question was settled by another upstream: what they still tell.

use std::collections::VecDeque;
use std::time::Instant;

use super::question::AttemptId;
use crate::wire::Header;
use crate::wire::header::QR;

/// Tries to upstreams that are down whose answers are still news when their question is settled.
const ORPHANS_MAX: usize = 256;

/// A try to an upstream that is down, whose question was settled by another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Orphan {
    pub(super) id: AttemptId,
    pub(super) upstream: usize,
    /// The ID of its message.
    pub(super) message_id: u16,
    pub(super) sent: Instant,
}

/// Those that may still be answered, the oldest in front.
#[derive(Debug, Default)]
pub(super) struct Orphans(VecDeque<Orphan>);

impl Orphans {
    pub(super) fn keep(&mut self, orphan: Orphan) {
        self.0.push_back(orphan);
        while self.0.len() > ORPHANS_MAX {
            self.0.pop_front();
        }
    }

    /// The one that a message answers: from an upstream that was down, that is the news that it is back.
    pub(super) fn answered(&mut self, id: AttemptId, message: &[u8]) -> Option<Orphan> {
        let at = self.0.iter().position(|orphan| orphan.id == id)?;
        let orphan = self.0.get(at)?;
        let header = Header::read(message)?;
        if header.id != orphan.message_id || header.flags & QR == 0 {
            return None;
        }
        self.0.remove(at)
    }
}
