//! What an upstream understands: our EDNS option, EDNS itself, and whether it repeats the letter case of a question.
//!
//! A capability is learned from answers that match in everything. It is given up only on confirmation: where an answer over
//! TCP says so, which no off-path attacker can forge, or where the upstream twice answered a query without it after one
//! with it stayed unanswered (an attacker cannot keep packets from arriving). What was given up is tried again now and then.

use std::time::{Duration, Instant};

/// How long until a query is sent in full again, the first time; then twice as long each time, at most.
const RETRY_FIRST: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(3600);
/// How long until the letter case of an upstream that changes it is looked at again.
const CASE_RETRY: Duration = Duration::from_secs(600);
/// How long a trial of the letter case may take before the next.
const TRIAL_MAX: Duration = Duration::from_secs(5);
/// How long TCP is not asked for confirmation after it was refused.
const CHECK_PAUSE: Duration = Duration::from_secs(60);

/// What a query carries beside its question; the order is from more to less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Form {
    /// An OPT record with our option.
    #[default]
    Full,
    /// An OPT record without options.
    WithoutOption,
    /// No OPT record.
    WithoutEdns,
}

impl Form {
    /// The next form that carries less.
    fn less(self) -> Option<Self> {
        match self {
            Self::Full => Some(Self::WithoutOption),
            Self::WithoutOption => Some(Self::WithoutEdns),
            Self::WithoutEdns => None,
        }
    }
}

/// Whether an upstream repeats the letter case of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum LetterCase {
    /// Not known; a trial may be under way until then.
    #[default]
    Unknown,
    /// It does.
    Repeated,
    /// It does not, as TCP confirmed; looked at again then.
    Changed(Instant),
}

/// What is known of one upstream.
#[derive(Debug, Default)]
pub(super) struct Capabilities {
    form: Form,
    /// When a query is sent in full again, and how long to wait then.
    retry: Option<(Instant, Duration)>,
    /// The form that may be needed, as one question showed: the second attempt of the next one is made in it.
    suspected: Option<Form>,
    check_after: Option<Instant>,
    letter_case: LetterCase,
    trial_until: Option<Instant>,
}

impl Capabilities {
    /// The form of a question's first attempt.
    pub(super) fn first_form(&mut self, now: Instant) -> Form {
        match self.retry {
            Some((at, pause)) if at <= now && self.form != Form::Full => {
                let pause = (pause * 2).min(RETRY_MAX);
                self.retry = Some((now + pause, pause));
                Form::Full
            }
            _ => self.form,
        }
    }

    /// The form that it is known to understand.
    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// The form of a question's second attempt, after the first stayed unanswered.
    pub(super) fn second_form(&self) -> Form {
        self.suspected.map_or(self.form, |suspected| suspected.max(self.form))
    }

    /// A query in this form was answered by an answer that matches in everything; `unanswered` are the forms of datagrams
    /// for the same question that stayed unanswered for their time, fullest first.
    pub(super) fn answered(&mut self, form: Form, unanswered: Option<Form>, now: Instant) {
        if form <= self.form {
            self.form = form;
            if form == Form::Full {
                self.retry = None;
            }
        }
        match unanswered {
            Some(fuller) if fuller < form && self.form < form => match self.suspected {
                Some(suspected) if suspected <= form => self.lower(form, now),
                _ => self.suspected = Some(form),
            },
            // A datagram that carried as much came through.
            _ => self.suspected = self.suspected.filter(|&suspected| suspected <= form && form != Form::Full),
        }
    }

    /// TCP answered after datagrams had stayed unanswered, the last of them in `form`: something in them may be the reason.
    pub(super) fn answered_by_stream_only(&mut self, form: Form) {
        self.suspected = form.max(self.form).less();
    }

    /// It said over TCP, or by an upstream's only transport, that it does not understand EDNS.
    pub(super) fn refused_edns(&mut self, now: Instant) {
        self.lower(Form::WithoutEdns, now);
    }

    fn lower(&mut self, form: Form, now: Instant) {
        if self.form < form {
            self.form = form;
            self.suspected = None;
            self.retry = Some((now + RETRY_FIRST, RETRY_FIRST));
        }
    }

    /// Whether TCP should confirm what a datagram says against EDNS.
    pub(super) fn may_check(&self, now: Instant) -> bool {
        self.form != Form::WithoutEdns && self.check_after.is_none_or(|after| after <= now)
    }

    /// TCP is not to be had for confirmation.
    pub(super) fn check_failed(&mut self, now: Instant) {
        self.check_after = Some(now + CHECK_PAUSE);
    }

    /// Whether the letter case of a datagram is drawn at random: where the upstream repeats it, or to find out whether it
    /// does, where `may_try`.
    pub(super) fn draws_case(&mut self, now: Instant, may_try: bool) -> bool {
        match self.letter_case {
            LetterCase::Repeated => return true,
            LetterCase::Changed(until) if now < until => return false,
            LetterCase::Changed(_) | LetterCase::Unknown => {}
        }
        let is_free = self.trial_until.is_none_or(|until| until <= now);
        if may_try && is_free {
            self.trial_until = Some(now + TRIAL_MAX);
        }
        may_try && is_free
    }

    /// A datagram repeated a question with letters of both cases as it was.
    pub(super) fn repeated_case(&mut self) {
        self.letter_case = LetterCase::Repeated;
        self.trial_until = None;
    }

    /// An answer over TCP repeated a question in another letter case.
    pub(super) fn changed_case(&mut self, now: Instant) {
        self.letter_case = LetterCase::Changed(now + CASE_RETRY);
        self.trial_until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a start for the simulated clock")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_form_is_given_up_at_the_second_confirmation_and_tried_again_later() {
        let now = start();
        let mut known = Capabilities::default();
        known.answered(Form::WithoutOption, Some(Form::Full), now);
        assert_eq!((known.form(), known.second_form()), (Form::Full, Form::WithoutOption), "once may be loss");
        known.answered(Form::Full, None, now);
        assert_eq!(known.second_form(), Form::Full, "it was");
        for _ in 0..2 {
            known.answered(Form::WithoutOption, Some(Form::Full), now);
        }
        assert_eq!(known.first_form(now), Form::WithoutOption);
        assert_eq!(known.first_form(now + RETRY_FIRST), Form::Full, "now and then");
        assert_eq!(known.first_form(now + RETRY_FIRST), Form::WithoutOption, "one query at a time");
        assert_eq!(known.first_form(now + RETRY_FIRST * 3), Form::Full);
        known.answered(Form::Full, None, now);
        assert_eq!(known.first_form(now), Form::Full);
    }

    #[test]
    fn where_only_tcp_answers_the_next_questions_find_out_why() {
        let now = start();
        let mut known = Capabilities::default();
        known.answered_by_stream_only(Form::Full);
        assert_eq!(known.second_form(), Form::WithoutOption);
        known.answered_by_stream_only(Form::WithoutOption);
        assert_eq!(known.second_form(), Form::WithoutEdns);
        known.answered(Form::WithoutEdns, Some(Form::Full), now);
        assert_eq!(known.form(), Form::WithoutEdns);
    }

    #[test]
    fn one_question_at_a_time_tries_letter_case() {
        let now = start();
        let mut known = Capabilities::default();
        assert!(!known.draws_case(now, false), "not of Azure DNS");
        assert!(known.draws_case(now, true) && !known.draws_case(now, true));
        assert!(known.draws_case(now + TRIAL_MAX, true), "the trial came to nothing");
        known.repeated_case();
        assert!(known.draws_case(now, true) && known.draws_case(now, false));
        known.changed_case(now);
        assert!(!known.draws_case(now, true));
        assert!(known.draws_case(now + CASE_RETRY, true));
    }
}
