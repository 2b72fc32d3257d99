//! What happens to a query: plays, and scripts of them.

use super::{Answer, Transport};
use std::time::Duration;

#[derive(Clone)]
pub(super) struct Step {
    pub(super) after: Duration,
    pub(super) answer: Answer,
    /// Sent from another port than the one asked (UDP).
    pub(super) elsewhere: bool,
}

/// How an answer travels over TCP.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Whole,
    ByteByByte,
    /// Closed after the first half of the message.
    ClosedInTheMiddle,
    /// Closed instead of an answer.
    Closed,
}

/// What happens to one query.
#[derive(Clone)]
pub(crate) struct Play {
    pub(super) steps: Vec<Step>,
    pub(super) delivery: Delivery,
}

impl Play {
    pub(crate) fn silence() -> Self {
        Self { steps: Vec::new(), delivery: Delivery::Whole }
    }

    pub(crate) fn of(answer: Answer) -> Self {
        Self::silence().then(0, answer)
    }

    pub(crate) fn answers(lines: &[&str]) -> Self {
        Self::of(Answer::of(lines))
    }

    /// One more message, `milliseconds` after the one before.
    pub(crate) fn then(mut self, milliseconds: u64, answer: Answer) -> Self {
        self.steps.push(Step { after: Duration::from_millis(milliseconds), answer, elsewhere: false });
        self
    }

    /// One more message, from another port.
    pub(crate) fn then_from_elsewhere(mut self, milliseconds: u64, answer: Answer) -> Self {
        self.steps.push(Step { after: Duration::from_millis(milliseconds), answer, elsewhere: true });
        self
    }

    pub(crate) fn byte_by_byte(mut self) -> Self {
        self.delivery = Delivery::ByteByByte;
        self
    }

    pub(crate) fn closed_in_the_middle(mut self) -> Self {
        self.delivery = Delivery::ClosedInTheMiddle;
        self
    }

    pub(crate) fn closed() -> Self {
        Self { steps: Vec::new(), delivery: Delivery::Closed }
    }
}

/// Plays by transport: the first query gets the first, the last one repeats. TCP without plays of its own does
/// as the last of UDP.
#[derive(Clone, Default)]
pub(crate) struct Script {
    udp: Vec<Play>,
    tcp: Vec<Play>,
}

impl Script {
    pub(crate) fn udp(plays: impl IntoIterator<Item = Play>) -> Self {
        Self { udp: plays.into_iter().collect(), tcp: Vec::new() }
    }

    pub(crate) fn tcp(mut self, plays: impl IntoIterator<Item = Play>) -> Self {
        self.tcp = plays.into_iter().collect();
        self
    }

    pub(super) fn play(&self, transport: Transport, index: usize) -> Play {
        let own = match transport {
            Transport::Udp => &self.udp,
            Transport::Tcp if self.tcp.is_empty() => {
                return self.udp.last().cloned().unwrap_or_else(Play::silence);
            }
            Transport::Tcp => &self.tcp,
        };
        own.get(index).or_else(|| own.last()).cloned().unwrap_or_else(Play::silence)
    }
}
