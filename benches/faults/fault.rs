//! The faults: where each is, when, and what it does to a query and to its answer.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Fault {
    None,
    Loss1,
    Loss10,
    Loss30,
    TwoLoss10,
    TwoLoss30,
    EveryThird,
    FirstEveryThird,
    Twice,
    Late,
    Jitter,
    Silence,
    Unreachable,
    FirstDies,
    FirstUnreachable,
    Ipv6Dead,
    Slow,
    Burst,
    ServFail,
    Refused,
    FirstServFail,
    NxDomain,
    WrongIds,
    WrongPlace,
    WrongCase,
    Malformed,
    CutShort,
    Truncated,
    TcpBroken,
    TcpBytes,
    TcpRefused,
    TcpSwallowed,
    NoEdns,
    OptDropped,
    OptionDropped,
    Flood,
    Stopped,
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
    /// The answer comes so much later than usual.
    Late(Duration),
    /// Forged answers with other IDs come before it.
    AfterWrongIds,
    /// Forged answers with another question, and from another port, come before it.
    AfterWrongPlace,
    /// A damaged answer, in this form, comes 5 ms before it.
    AfterDamaged(usize),
    /// The answer is in lower case, by TCP as well.
    LowerCase,
    /// The answer ends in the middle of a record, without TC.
    CutShort,
    /// TC: the answer is to be had by TCP.
    Truncated,
    /// An answer without records and with this code.
    Code(u8),
}

/// Which upstreams there are, and which of them have the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upstreams {
    One,
    TwoBoth,
    TwoFirst,
    /// The first one is on ::1.
    TwoFirstIpv6,
}

/// What becomes of TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tcp {
    Answers,
    /// Of three in ten connections, the answer is cut in the middle.
    Broken,
    Bytes,
    Refused,
    Swallowed,
}

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "no fault",
            Self::Loss1 => "loss 1 % each way",
            Self::Loss10 => "loss 10 %",
            Self::Loss30 => "loss 30 %",
            Self::TwoLoss10 => "loss 10 %, two upstreams",
            Self::TwoLoss30 => "loss 30 %, two upstreams",
            Self::EveryThird => "answers every third",
            Self::FirstEveryThird => "the first of two answers every third",
            Self::Twice => "every answer twice",
            Self::Late => "20 % late by 50 ms",
            Self::Jitter => "200 to 400 ms",
            Self::Silence => "silent for a third, and back",
            Self::Unreachable => "port unreachable for a third, and back",
            Self::FirstDies => "the first of two dies",
            Self::FirstUnreachable => "the first of two dies, port unreachable",
            Self::Ipv6Dead => "the first of two is on ::1 and silent",
            Self::Slow => "30 names a second take 4 s",
            Self::Burst => "1,000 a second, 200 pending; 400 at once each second",
            Self::ServFail => "SERVFAIL for a third, and back",
            Self::Refused => "REFUSED for a third, and back",
            Self::FirstServFail => "SERVFAIL of the first of two for a third",
            Self::NxDomain => "NXDOMAIN for a third, and back",
            Self::WrongIds => "20 wrong IDs before each answer",
            Self::WrongPlace => "wrong question, wrong port, then right",
            Self::WrongCase => "letter case changed",
            Self::Malformed => "malformed, then right",
            Self::CutShort => "cut in the middle without TC",
            Self::Truncated => "truncated",
            Self::TcpBroken => "truncated; TCP cut at 30 %",
            Self::TcpBytes => "truncated; TCP byte by byte",
            Self::TcpRefused => "truncated at 10 %; TCP refused",
            Self::TcpSwallowed => "truncated at 10 %; TCP swallowed",
            Self::NoEdns => "FORMERR on OPT",
            Self::OptDropped => "queries with OPT swallowed",
            Self::OptionDropped => "queries with options swallowed",
            Self::Flood => "5,000 unique names a second of another client for a third",
            Self::Stopped => "the server is stopped (SIGSTOP) for a third",
        }
    }

    /// When it is, in thirds of the run; the whole run where it has no time of its own.
    pub(crate) fn thirds(self) -> Option<std::ops::Range<u32>> {
        match self {
            Self::Silence
            | Self::Unreachable
            | Self::ServFail
            | Self::Refused
            | Self::FirstServFail
            | Self::NxDomain
            | Self::Flood
            | Self::Stopped => Some(1..2),
            Self::FirstDies | Self::FirstUnreachable => Some(1..3),
            _ => None,
        }
    }

    pub(crate) fn upstreams(self) -> Upstreams {
        match self {
            Self::TwoLoss10 | Self::TwoLoss30 => Upstreams::TwoBoth,
            Self::FirstEveryThird | Self::FirstDies | Self::FirstUnreachable | Self::FirstServFail => {
                Upstreams::TwoFirst
            }
            Self::Ipv6Dead => Upstreams::TwoFirstIpv6,
            _ => Upstreams::One,
        }
    }

    pub(crate) fn tcp(self) -> Tcp {
        match self {
            Self::TcpBroken => Tcp::Broken,
            Self::TcpBytes => Tcp::Bytes,
            Self::TcpRefused => Tcp::Refused,
            Self::TcpSwallowed => Tcp::Swallowed,
            _ => Tcp::Answers,
        }
    }

    /// Whether nothing listens while it is.
    pub(crate) fn closes_port(self) -> bool {
        matches!(self, Self::Unreachable | Self::FirstUnreachable)
    }

    /// What happens to a query with or without an OPT record, with or without options in it, while the fault is.
    pub(crate) fn fate(self, rng: &mut StdRng, has_opt: bool, has_options: bool) -> Fate {
        let lost = |rng: &mut StdRng, share: f64| {
            let is_lost = rng.random_bool(share) || rng.random_bool(share);
            if is_lost { Fate::Lost } else { Fate::Answered }
        };
        let swallowed = |is: bool| if is { Fate::Lost } else { Fate::Answered };
        match self {
            Self::None | Self::Slow | Self::Burst | Self::Flood | Self::Stopped => Fate::Answered,
            Self::Silence | Self::Unreachable | Self::FirstDies | Self::FirstUnreachable | Self::Ipv6Dead => Fate::Lost,
            Self::Loss1 => lost(rng, 0.01),
            Self::Loss10 | Self::TwoLoss10 => lost(rng, 0.10),
            Self::Loss30 | Self::TwoLoss30 => lost(rng, 0.30),
            Self::EveryThird | Self::FirstEveryThird => swallowed(!rng.next_u32().is_multiple_of(3)),
            Self::Twice => Fate::Twice,
            Self::Late if rng.random_bool(0.2) => Fate::Late(Duration::from_millis(50)),
            Self::Late => Fate::Answered,
            Self::Jitter => Fate::Late(Duration::from_millis(rng.random_range(198..398))),
            Self::ServFail | Self::FirstServFail => Fate::Code(2),
            Self::Refused => Fate::Code(5),
            Self::NxDomain => Fate::Code(3),
            Self::WrongIds => Fate::AfterWrongIds,
            Self::WrongPlace => Fate::AfterWrongPlace,
            Self::WrongCase => Fate::LowerCase,
            Self::Malformed => Fate::AfterDamaged(rng.next_u32() as usize),
            Self::CutShort => Fate::CutShort,
            Self::Truncated | Self::TcpBroken | Self::TcpBytes => Fate::Truncated,
            Self::TcpRefused | Self::TcpSwallowed if rng.random_bool(0.1) => Fate::Truncated,
            Self::TcpRefused | Self::TcpSwallowed => Fate::Answered,
            Self::NoEdns if has_opt => Fate::Code(1),
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
