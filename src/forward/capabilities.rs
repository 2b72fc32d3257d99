//! What an upstream understands: our EDNS option, EDNS itself, and whether it repeats the letter case of a question.
//!
//! A capability is learned from answers that match in everything. It is given up only on confirmation: where an answer over
//! TCP says so, which no off-path attacker can forge, or where the upstream twice answered a query without it after one
//! with it stayed unanswered (an attacker cannot keep packets from arriving). What was given up is tried again now and then.

use std::time::{Duration, Instant};

use smallvec::SmallVec;

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

/// Whether the name of a question section has letters.
pub(super) fn has_letters(section: &[u8]) -> bool {
    let name = section.split_last_chunk::<4>().map_or(&[][..], |(name, _)| name);
    name.iter().any(u8::is_ascii_alphabetic)
}

/// The question section with the case of its name's letters as the bits of `draw` say, one for each byte and again from the
/// first after 64; nothing where it has no letters.
pub(super) fn with_case(section: &[u8], draw: u64) -> Option<SmallVec<[u8; 64]>> {
    let mut drawn = SmallVec::<[u8; 64]>::from_slice(section);
    let (name, _) = drawn.split_last_chunk_mut::<4>()?;
    let (mut bits, mut has_letters) = (draw, false);
    // Eight bytes at a time: each query is written so, and its answer is held against that.
    let mut change = |word: &mut [u8; 8]| {
        let bytes = u64::from_le_bytes(*word);
        let letters = letters(bytes);
        has_letters |= letters != 0;
        // The top bit of a byte says so; the difference of a letter's cases is two bits below.
        *word = (bytes ^ (letters & spread(bits)) >> 2).to_le_bytes();
        bits = bits.rotate_right(8);
    };
    let (words, rest) = name.as_chunks_mut::<8>();
    words.iter_mut().for_each(&mut change);
    let mut last = [0; 8];
    last.get_mut(..rest.len())?.copy_from_slice(rest);
    change(&mut last);
    rest.copy_from_slice(last.get(..rest.len())?);
    has_letters.then_some(drawn)
}

/// 1 in each byte.
const EACH: u64 = 0x0101_0101_0101_0101;

/// Which of eight bytes are letters, by the top bit of each. The length of a label is at most 63, and no letter.
fn letters(bytes: u64) -> u64 {
    let lower = (bytes | (EACH * 0x20)) & (EACH * 0x7f);
    let from_a = lower + EACH * (0x80 - b'a' as u64);
    let after_z = lower + EACH * (0x7f - b'z' as u64);
    from_a & !after_z & !bytes & (EACH * 0x80)
}

/// The lowest eight bits, each as the top bit of a byte.
fn spread(bits: u64) -> u64 {
    let each_at_its_place = ((bits & 0xff) * EACH) & 0x8040_2010_0804_0201;
    (each_at_its_place + EACH * 0x7f) & (EACH * 0x80)
}

/// Gives an answer the letter case of the question that the client asked, in the question section and wherever the name is
/// repeated in full as it was `sent`.
pub(super) fn restore_case(message: &mut [u8], sent: &[u8], asked: &[u8]) {
    const HEADER_LEN: usize = crate::wire::header::HEADER_LEN;
    let Some(name_len) = asked.len().checked_sub(4).filter(|_| sent.len() == asked.len()) else { return };
    let (Some(sent), Some(asked)) = (sent.get(..name_len), asked.get(..name_len)) else { return };
    let mut at = HEADER_LEN;
    while let Some(place) = message.get_mut(at..at + name_len) {
        // An answer over TCP may have the question in another case: there it is no guess. Of what follows, most differs at once.
        if (place.first() == sent.first() && place == sent)
            || (at == HEADER_LEN && place.eq_ignore_ascii_case(asked))
        {
            place.copy_from_slice(asked);
            at += name_len;
        } else {
            at += 1;
        }
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
    fn letters_are_drawn_and_restored() {
        let asked = b"\x03WwW\x04e-1x\x00\x00\x01\x00\x01";
        let sent = with_case(asked, 0b10_1010_1010).unwrap();
        assert_eq!(&*sent, b"\x03www\x04E-1x\x00\x00\x01\x00\x01".as_slice());
        assert_eq!(with_case(b"\x021-\x00\x00\x01\x00\x01", u64::MAX), None);
        assert_eq!(with_case(b"\x00\x00\x02\x00\x01", u64::MAX), None);
        let message = |question: &[u8]| {
            let mut bytes = vec![7; 12];
            bytes.extend_from_slice(question);
            bytes.extend_from_slice(question.get(..question.len() - 4).unwrap());
            bytes.extend_from_slice(b"\xc0\x0cwwW");
            bytes
        };
        let mut received = message(&sent);
        restore_case(&mut received, &sent, asked);
        assert_eq!(received, message(asked));
        let mut short = vec![7; 14];
        restore_case(&mut short, &sent, asked);
        assert_eq!(short, vec![7; 14]);
    }

    proptest::proptest! {
        #[test]
        fn each_letter_follows_its_bit_and_nothing_else_changes(
            name in proptest::collection::vec(proptest::num::u8::ANY, 0..150),
            draw in proptest::num::u64::ANY,
        ) {
            let section = [&*name, b"\x00AzA"].concat();
            let expected: Vec<u8> = name
                .iter()
                .enumerate()
                .map(|(at, &byte)| {
                    let is_flipped = byte.is_ascii_alphabetic() && draw >> (at % 64) & 1 == 1;
                    byte ^ u8::from(is_flipped) << 5
                })
                .chain(*b"\x00AzA")
                .collect();
            let has_letters = name.iter().any(u8::is_ascii_alphabetic);
            let drawn = with_case(&section, draw);
            proptest::prop_assert_eq!(drawn.as_deref(), has_letters.then_some(&*expected));
        }
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
