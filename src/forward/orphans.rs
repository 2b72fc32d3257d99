//! Tries whose question was settled by another upstream: what they still tell.

use std::time::Instant;

use super::machine::Forwarding;
use super::question::TryId;
use crate::wire::Header;
use crate::wire::header::QR;

/// Tries to upstreams that are down whose answers are still news when their question is settled.
const ORPHANS_MAX: usize = 256;

/// A try to an upstream that is down, whose question was settled by another.
#[derive(Debug)]
pub(super) struct Orphan {
    id: TryId,
    upstream: usize,
    query_id: u16,
    sent: Instant,
}

impl<W> Forwarding<W> {
    /// An answer that came after its question was settled: from an upstream that was down, it is the news that it is back.
    pub(super) fn hear_orphan(&mut self, now: Instant, id: TryId, bytes: &[u8]) {
        let Some(at) = self.orphans.iter().position(|orphan| orphan.id == id) else { return };
        let Some(orphan) = self.orphans.get(at) else { return };
        let is_answer =
            Header::read(bytes).is_some_and(|header| header.id == orphan.query_id && header.flags & QR != 0);
        if !is_answer {
            return;
        }
        if let Some(upstream) = self.upstreams.get_mut(orphan.upstream) {
            self.news.extend(upstream.heard(Some(now.saturating_duration_since(orphan.sent)), now));
        }
        self.orphans.remove(at);
    }

    pub(super) fn keep_orphans(&mut self, slot: u32) {
        let Some(query) = self.outstanding.get(slot as usize) else { return };
        for (number, tried) in query.tries.iter().enumerate().filter(|(_, tried)| tried.is_open) {
            let is_down = self.upstreams.get(tried.upstream).is_some_and(|upstream| upstream.health.is_down());
            let Some(number) = u8::try_from(number).ok().filter(|_| is_down) else { continue };
            let id = TryId { slot, generation: query.generation, number };
            self.orphans.push_back(Orphan { id, upstream: tried.upstream, query_id: tried.id, sent: tried.sent });
        }
        while self.orphans.len() > ORPHANS_MAX {
            self.orphans.pop_front();
        }
    }
}
