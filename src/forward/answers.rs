//! What came of tries: an answer, another message, trouble, or nothing in their time; what that says of upstreams, and what is
//! tried then. Where it ends a question, its outcome is the result.

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::attempts::{TRIES_MAX, Tries, Way};
use super::capabilities::Form;
use super::letters::{has_case, restore_case};
use super::outstanding::{Attempt, Match, STREAMS_MAX};
use super::question::{Arrival, AttemptId, Failure, Outcome, Transmit, Trouble, TroubleKind, Via};
use super::upstream::{Failing, Upstream};
use crate::wire::UpstreamMessage;
use crate::wire::header::HEADER_LEN;

/// What an arrival, or that there will be none, is for a try.
pub(super) enum Came {
    /// Not what it waits for.
    Listen,
    /// It was over before.
    Late,
    /// Its end, and that of its question where there is an outcome.
    Over(Option<Outcome>),
}

impl<W> Tries<W> {
    /// Takes what came back for a try.
    pub(super) fn on_response(
        &mut self,
        now: Instant,
        id: AttemptId,
        arrival: Arrival,
        out: &mut Vec<Transmit>,
    ) -> Came {
        let mut message = match arrival {
            Arrival::Message(message) => message,
            Arrival::Damaged(bytes) => Box::new(UpstreamMessage::damaged(bytes)),
            Arrival::WrongId => return self.heard_wrong_id(now, id, out),
        };
        let Some(query) = self.questions.of(id.ticket()) else {
            if let Some(orphan) = self.questions.take_orphan(id, &message.bytes) {
                let took = now.saturating_duration_since(orphan.sent);
                self.upstreams.on_response(now, orphan.upstream, Some(took));
            }
            return Came::Late;
        };
        let Some(tried) = query.attempts.get(id.number as usize).filter(|tried| tried.is_open) else {
            return Came::Late;
        };
        let (via, upstream, was_damaged, case) = (tried.via, tried.upstream, tried.is_damaged, tried.case);
        let judgement = query.judge(tried, &message);
        match judgement {
            Match::Unrelated | Match::Suspicious if via == Via::Stream => {
                let text = "it answered another question".into();
                return self.failed(now, id, &Trouble { text, kind: TroubleKind::Other }, out);
            }
            Match::Unrelated => {
                self.counts.unrelated += 1;
                return Came::Listen;
            }
            Match::Suspicious => {
                // Nothing else may be wrong than that the upstream changes the case: then the next tries match.
                if case.is_some()
                    && let Some(query) = self.questions.get_mut(id.slot)
                {
                    query.keeps_case = true;
                }
                return self.heard_wrong_id(now, id, out);
            }
            Match::Damaged if via == Via::Datagram => {
                // The damage does not end the wait for what was sent (RFC 5452 §9.1); TCP is asked beside it, once.
                if !was_damaged {
                    self.counts.cut += 1;
                    if let Some(tried) = self.questions.attempt_mut(id.slot, id.number as usize) {
                        tried.is_damaged = true;
                    }
                    // It was meant as the answer: the upstream is there.
                    self.upstreams.on_response(now, upstream, None);
                    self.ask_by_stream(now, id.slot, upstream, false, out);
                    self.questions.arm(id.slot);
                }
                return Came::Listen;
            }
            Match::Cut | Match::Damaged | Match::NoEdns | Match::Failure | Match::Answer => {}
        }
        let asked = &*query.question.section;
        // No datagram is an answer whose question has another case than was sent.
        let echoed = message.bytes.get(HEADER_LEN..HEADER_LEN + asked.len()).filter(|_| via == Via::Stream);
        let repeats_case = echoed.is_none_or(|echoed| has_case(echoed, asked, case));
        if case.is_some() {
            restore_case(&mut message.bytes, asked);
        }
        let took = now.saturating_duration_since(tried.sent);
        self.upstreams.answered(now, upstream, (via, took, tried.is_slow), asked);
        if judgement == Match::Answer {
            self.learn(now, id, repeats_case);
        } else if judgement == Match::Failure
            && via == Via::Datagram
            && case.is_some()
            && let Some(upstream) = self.upstreams.get_mut(upstream)
        {
            // A forwarder in a loop says nothing else.
            upstream.capabilities.repeated_case();
        }
        self.close(id.slot, id.number as usize);
        let outcome = match judgement {
            Match::Cut if via == Via::Datagram => {
                self.counts.cut += 1;
                if self.ask_by_stream(now, id.slot, upstream, true, out) {
                    None
                } else {
                    // There is more than fits a datagram, and TCP was lost each time.
                    self.give_up_upstream(now, id.slot, upstream, out)
                }
            }
            Match::NoEdns => {
                self.ask_without_edns(now, id, out);
                None
            }
            Match::Failure => {
                if let Some(query) = self.questions.get_mut(id.slot) {
                    query.failure = Some(message);
                }
                self.give_up_upstream(now, id.slot, upstream, out)
            }
            Match::Cut | Match::Damaged => {
                // Over TCP it was the upstream that damaged it.
                if let Some(query) = self.questions.get_mut(id.slot) {
                    query.trouble = Some((upstream, "malformed answer".into()));
                }
                self.give_up_upstream(now, id.slot, upstream, out)
            }
            Match::Answer | Match::Unrelated | Match::Suspicious => self.take_answer(id.slot, via, message),
        };
        Came::Over(outcome)
    }

    /// An attacker may be guessing: a datagram came from the right place with the wrong ID or case. TCP is asked at once, and
    /// decides.
    fn heard_wrong_id(&mut self, now: Instant, id: AttemptId, out: &mut Vec<Transmit>) -> Came {
        let Some(query) = self.questions.of_mut(id.ticket()) else { return Came::Late };
        let tried = query.attempts.get(id.number as usize).filter(|tried| tried.is_open);
        let Some(upstream) = tried.map(|tried| tried.upstream) else { return Came::Late };
        self.counts.suspicious += 1;
        if !std::mem::replace(&mut query.is_suspicious, true) {
            self.ask_by_stream(now, id.slot, upstream, false, out);
        }
        self.questions.arm(id.slot);
        Came::Listen
    }

    /// Takes that a try could not be carried out.
    pub(super) fn failed(&mut self, now: Instant, id: AttemptId, trouble: &Trouble, out: &mut Vec<Transmit>) -> Came {
        let Some(query) = self.questions.of_mut(id.ticket()) else { return Came::Late };
        let tried = query.attempts.get(id.number as usize).filter(|tried| tried.is_open);
        let Some(tried) = tried else { return Came::Late };
        let (number, via, sent) = (tried.upstream, tried.via, tried.sent);
        let (is_rest, is_after_tc) = (tried.is_rest, tried.is_after_tc);
        let Some(usual) = self.upstreams.get(number).map(Upstream::default_transport) else { return Came::Over(None) };
        self.upstreams.failed(now, number, (via, sent), Failing::Trouble(trouble));
        if via == usual || is_after_tc {
            query.trouble = Some((number, trouble.text.clone()));
        }
        let is_final = match trouble.kind {
            TroubleKind::Certificate => via == usual,
            // There is more than fits a datagram, and no other way to it.
            TroubleKind::Refused => is_after_tc,
            TroubleKind::Other => false,
        };
        let without_edns = query.without_edns;
        self.close(id.slot, id.number as usize);
        if is_final {
            return Came::Over(self.give_up_upstream(now, id.slot, number, out));
        }
        if is_rest && via != usual && without_edns {
            // TCP was to confirm that the upstream does not understand EDNS.
            if let Some(upstream) = self.upstreams.get_mut(number) {
                upstream.capabilities.check_failed(now);
            }
            let way = Way { via: usual, form: Form::WithoutEdns, is_rest: true, is_after_tc: false };
            self.send(now, id.slot, number, way, out);
        }
        Came::Over(self.give_up(now, id.slot, out))
    }

    /// Does what is due for the tries of a question that were made.
    pub(super) fn look_at(&mut self, now: Instant, slot: u32) {
        self.mark_slow(now, slot);
        self.close_old(now, slot);
    }

    /// Asks for what a datagram could not say; `is_after_tc` where it said so itself. Whether TCP is asked, or still asked.
    fn ask_by_stream(
        &mut self,
        now: Instant,
        slot: u32,
        number: usize,
        is_after_tc: bool,
        out: &mut Vec<Transmit>,
    ) -> bool {
        let Some(query) = self.questions.get(slot) else { return false };
        let mut attempts = query.attempts.iter();
        if attempts.any(|tried| tried.is_open && tried.via == Via::Stream && tried.upstream == number) {
            return true;
        }
        if query.count_streams_of(number) >= STREAMS_MAX {
            return false;
        }
        let Some(upstream) = self.upstreams.get(number) else { return false };
        let form = if query.without_edns { Form::WithoutEdns } else { upstream.capabilities.form() };
        self.send(now, slot, number, Way { via: Via::Stream, form, is_rest: true, is_after_tc }, out);
        self.plan(now, slot);
        true
    }

    /// The upstream does not understand EDNS, as an answer says. Over TCP that is certain, and remembered. A datagram may be
    /// forged: TCP is asked for confirmation, unless it could not be had a moment ago.
    fn ask_without_edns(&mut self, now: Instant, id: AttemptId, out: &mut Vec<Transmit>) {
        let Some(query) = self.questions.get_mut(id.slot) else { return };
        let Some(tried) = query.attempts.get(id.number as usize) else { return };
        let (number, via) = (tried.upstream, tried.via);
        let Some(upstream) = self.upstreams.get_mut(number) else { return };
        query.without_edns = true;
        let usual = upstream.default_transport();
        let mut way = Way { via: usual, form: Form::WithoutEdns, is_rest: true, is_after_tc: false };
        if via == Via::Stream {
            upstream.capabilities.refused_edns(now);
        } else if query.may_ask_by_stream(number) && upstream.capabilities.may_check(now) {
            way = Way { via: Via::Stream, form: upstream.capabilities.form(), ..way };
        }
        self.send(now, id.slot, number, way, out);
        self.plan(now, id.slot);
    }

    /// An answer was accepted: what that says of what its upstream understands.
    fn learn(&mut self, now: Instant, id: AttemptId, repeats_case: bool) {
        let Some(query) = self.questions.get(id.slot) else { return };
        let Some(tried) = query.attempts.get(id.number as usize) else { return };
        let Some(upstream) = self.upstreams.get_mut(tried.upstream) else { return };
        if upstream.default_transport() == Via::Stream {
            return;
        }
        let timeout = upstream.timeout(false);
        let datagrams = query.round().iter().filter(|other| {
            other.upstream == tried.upstream && other.via == Via::Datagram && other.is_open && other.id != tried.id
        });
        let unanswered = datagrams.filter(|other| now.saturating_duration_since(other.sent) >= timeout);
        match tried.via {
            Via::Datagram => {
                upstream.capabilities.answered(tried.form, unanswered.map(|other| other.form).min(), now);
                let has_upper = || query.question.section.iter().any(u8::is_ascii_uppercase);
                if tried.case.is_some() || (upstream.target.is_azure_dns() && has_upper()) {
                    upstream.capabilities.repeated_case();
                }
            }
            Via::Stream => {
                if let Some(last) = unanswered.map(|other| other.form).max()
                    && !tried.is_rest
                {
                    upstream.capabilities.answered_by_stream_only(last);
                }
                if tried.case.is_some() && !repeats_case {
                    upstream.capabilities.changed_case(now);
                }
            }
        }
    }

    fn take_answer(&mut self, slot: u32, via: Via, message: Box<UpstreamMessage>) -> Option<Outcome> {
        let query = self.questions.get_mut(slot)?;
        if query.is_suspicious && via == Via::Datagram && query.has_open_stream() {
            query.held = Some(message);
            return None;
        }
        self.questions.forget_failure(slot);
        Some(Ok(message))
    }

    /// An upstream has no answer to a question, or cannot give it: what it was asked beside that is not waited for.
    fn give_up_upstream(&mut self, now: Instant, slot: u32, number: usize, out: &mut Vec<Transmit>) -> Option<Outcome> {
        let query = self.questions.get_mut(slot)?;
        let from = query.round_start;
        let of_it = |tried: &&mut Attempt| tried.upstream == number;
        query.attempts.iter_mut().skip(from).filter(of_it).for_each(|tried| tried.has_failed = true);
        let open = query.attempts.iter().enumerate().filter(|(_, tried)| tried.is_open && tried.upstream == number);
        let open: SmallVec<[usize; 8]> = open.map(|(at, _)| at).collect();
        for at in open {
            self.close(slot, at);
        }
        self.give_up(now, slot, out)
    }

    /// A try failed: the next one at once where there is an upstream not asked yet, else what is left.
    fn give_up(&mut self, now: Instant, slot: u32, out: &mut Vec<Transmit>) -> Option<Outcome> {
        let query = self.questions.get_mut(slot)?;
        if !query.has_open_stream()
            && let Some(held) = query.held.take()
        {
            return Some(Ok(held));
        }
        let client = query.waiters.first().map(|waiting| waiting.client);
        let others_left = query.upstreams.iter().any(|&number| query.last_asked(number).is_none());
        if let Some(client) = client.filter(|_| others_left && query.count_tries() < TRIES_MAX) {
            self.try_next(now, slot, client, out);
            return None;
        }
        if query.has_open_try() || query.line.is_some() {
            return None;
        }
        let all_failed = query.upstreams.iter().all(|&number| query.has_failed(number));
        match query.failure.take() {
            Some(failure) => {
                self.questions.remember_failure(slot, Some(Arc::from(&*failure.bytes)), now);
                Some(Ok(failure))
            }
            // An upstream that restarts refuses for a moment: the tries left are made at their time.
            None if query.next_try.is_some() && !all_failed => None,
            None => {
                let failure = if query.trouble.is_some() { Failure::Unreachable } else { Failure::Silence };
                if all_failed {
                    self.questions.remember_failure(slot, None, now);
                }
                Some(Err(failure))
            }
        }
    }

    /// Tells upstreams of tries that were not answered in their time.
    pub(super) fn mark_late(&mut self, now: Instant, slot: u32) {
        let Some(query) = self.questions.get_mut(slot) else { return };
        for tried in query.attempts.iter_mut().filter(|tried| tried.is_open && !tried.is_late) {
            let Some(upstream) = self.upstreams.get(tried.upstream) else { continue };
            // The next try may have been made because of another upstream.
            if now.saturating_duration_since(tried.sent) < upstream.timeout(false) {
                continue;
            }
            tried.is_late = true;
            self.upstreams.failed(now, tried.upstream, (tried.via, tried.sent), Failing::Silent);
        }
    }

    /// Finds tries that have become slow, while their upstream answers others: it is the name that is slow.
    fn mark_slow(&mut self, now: Instant, slot: u32) {
        let Some(query) = self.questions.get_mut(slot) else { return };
        for tried in
            query.attempts.iter_mut().filter(|tried| tried.is_open && tried.slow_at.is_some_and(|at| at <= now))
        {
            tried.slow_at = None;
            let so_far = now.saturating_duration_since(tried.sent);
            tried.is_slow |= self.upstreams.became_slow(now, tried.upstream, so_far, &query.question.section);
        }
    }

    /// Closes tries that nothing listens for any more.
    fn close_old(&mut self, now: Instant, slot: u32) {
        let Some(query) = self.questions.get(slot) else { return };
        let old = query.attempts.iter().enumerate().filter(|(_, tried)| tried.is_open && tried.closes <= now);
        let old: Vec<usize> = old.map(|(number, _)| number).collect();
        if !old.is_empty() {
            self.mark_late(now, slot);
        }
        for number in old {
            self.close(slot, number);
        }
    }

    fn close(&mut self, slot: u32, number: usize) {
        if let Some(tried) = self.questions.attempt_mut(slot, number)
            && std::mem::replace(&mut tried.is_open, false)
        {
            self.upstreams.give_back(tried.upstream, tried.is_slow);
        }
    }

    /// Closes all tries of a question that is done. Those to upstreams that are down may still be news.
    pub(super) fn close_all(&mut self, slot: u32) {
        let upstreams = &self.upstreams;
        self.questions.keep_orphans(slot, |number| upstreams.is_down(number));
        let attempts = self.questions.get(slot).map_or(0, |query| query.attempts.len());
        for number in 0..attempts {
            self.close(slot, number);
        }
    }
}
