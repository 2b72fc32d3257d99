//! The faults: what each does to a query and to its answer.

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Fault {
    None,
    Loss1,
    Loss10,
    Loss30,
    EveryThird,
    Twice,
    Late,
    Silence,
    WrongIds,
    WrongCase,
    Malformed,
    TcpBroken,
    NoEdns,
    OptDropped,
    OptionDropped,
}

/// What happens to a datagram and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Answered after the usual time.
    Answered,
    /// Neither it nor its answer arrives.
    Lost,
    /// The answer comes twice.
    Twice,
    /// The answer comes 50 ms later than usual.
    Late,
    /// Forged answers with other IDs come before it.
    AfterWrongIds,
    /// A damaged answer, in this form, comes 5 ms before it.
    AfterDamaged(usize),
    /// The answer is in lower case, by TCP as well.
    LowerCase,
    /// TC: the answer is to be had by TCP.
    Truncated,
    /// FORMERR.
    FormErr,
}

impl Fault {
    pub(crate) const ALL: [Self; 15] = [
        Self::None,
        Self::Loss1,
        Self::Loss10,
        Self::Loss30,
        Self::EveryThird,
        Self::Twice,
        Self::Late,
        Self::Silence,
        Self::WrongIds,
        Self::WrongCase,
        Self::Malformed,
        Self::TcpBroken,
        Self::NoEdns,
        Self::OptDropped,
        Self::OptionDropped,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "no fault",
            Self::Loss1 => "loss 1 % each way",
            Self::Loss10 => "loss 10 %",
            Self::Loss30 => "loss 30 %",
            Self::EveryThird => "answers every third",
            Self::Twice => "every answer twice",
            Self::Late => "20 % late by 50 ms",
            Self::Silence => "silent for a third, and back",
            Self::WrongIds => "20 wrong IDs before each answer",
            Self::WrongCase => "letter case changed",
            Self::Malformed => "malformed, then right",
            Self::TcpBroken => "truncated; TCP cut at 30 %",
            Self::NoEdns => "FORMERR on OPT",
            Self::OptDropped => "queries with OPT swallowed",
            Self::OptionDropped => "queries with options swallowed",
        }
    }

    /// What happens to a query with or without an OPT record, with or without options in it.
    pub(crate) fn fate(self, rng: &mut StdRng, has_opt: bool, has_options: bool) -> Fate {
        let lost = |rng: &mut StdRng, share: f64| {
            let is_lost = rng.random_bool(share) || rng.random_bool(share);
            if is_lost { Fate::Lost } else { Fate::Answered }
        };
        let swallowed = |is: bool| if is { Fate::Lost } else { Fate::Answered };
        match self {
            Self::None | Self::Silence => Fate::Answered,
            Self::Loss1 => lost(rng, 0.01),
            Self::Loss10 => lost(rng, 0.10),
            Self::Loss30 => lost(rng, 0.30),
            Self::EveryThird => swallowed(!rng.next_u32().is_multiple_of(3)),
            Self::Twice => Fate::Twice,
            Self::Late if rng.random_bool(0.2) => Fate::Late,
            Self::Late => Fate::Answered,
            Self::WrongIds => Fate::AfterWrongIds,
            Self::WrongCase => Fate::LowerCase,
            Self::Malformed => Fate::AfterDamaged(rng.next_u32() as usize),
            Self::TcpBroken => Fate::Truncated,
            Self::NoEdns if has_opt => Fate::FormErr,
            Self::NoEdns => Fate::Answered,
            Self::OptDropped => swallowed(has_opt),
            Self::OptionDropped => swallowed(has_options),
        }
    }
}

/// An answer damaged in one of many ways; ID, question and address stay the upstream's. `question_end` is where its records
/// begin: one address, its owner a pointer, then perhaps an OPT record.
pub(crate) fn damaged(answer: &[u8], question_end: usize, form: usize) -> Vec<u8> {
    let mut bytes = answer.to_vec();
    let record = question_end;
    match form % 12 {
        0 => bytes.truncate(question_end),
        1 => bytes.truncate(record + 7),
        2 => bytes.truncate(record + 14),
        3 => bytes[7] = 9,
        4 => bytes[9] = 1,
        5 => bytes[11] = 5,
        6 => bytes[record..record + 2].copy_from_slice(&[0xc0, 0xff]),
        7 => bytes[record..record + 2].copy_from_slice(&[0x80, 0x0c]),
        8 => bytes[record + 11] = 3,
        9 => bytes[record + 11] = 255,
        // A record of another type than was asked for, and of another class.
        10 => bytes[record + 3] = 28,
        _ => bytes[record + 5] = 3,
    }
    bytes
}
