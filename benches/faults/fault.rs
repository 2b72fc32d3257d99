//! What a fault is: where, when, and what it does to a query and to its answer. The faults themselves are in `table`.

use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use crate::servers::Server;

/// A fault: a value of every field that is not the usual one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fault {
    /// What it is chosen by.
    pub(crate) id: &'static str,
    /// What the table calls it.
    pub(crate) name: &'static str,
    pub(crate) time: Time,
    pub(crate) upstreams: Upstreams,
    pub(crate) transport: Transport,
    pub(crate) datagrams: Datagrams,
    pub(crate) streams: Streams,
    pub(crate) clients: Clients,
    pub(crate) act: Act,
    /// How long an answer takes, milliseconds.
    pub(crate) usual: u64,
}

/// When it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    /// All the time.
    Always,
    /// The second third of the run.
    Middle,
    /// All but the first third.
    FromThird,
}

/// Which upstreams there are, and which of them have the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upstreams {
    One,
    TwoBoth,
    TwoFirst,
    /// The first one has an IPv6 address.
    TwoFirstIpv6,
    /// The server itself.
    Itself,
    /// Another process of the same server, which has the first one as its upstream.
    ItselfThroughAnother,
}

/// How upstreams are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Datagrams,
    Tls,
    /// TLS; in the time of the fault the certificate is one of the past.
    TlsExpired,
}

/// What happens to datagrams, and, where the upstream itself is meant and not the network, to streams.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Datagrams {
    Well,
    /// This share is lost, each way.
    Lost(f64),
    Silent,
    /// Nothing listens.
    Closed,
    EveryThird,
    Twice,
    /// A share of the answers comes so many milliseconds later.
    Late {
        share: f64,
        least: u64,
        most: u64,
    },
    /// Azure DNS's limits.
    Limited,
    /// Nothing but this code.
    Code(u8),
    /// Forged answers with other IDs come before each answer.
    WrongIds,
    /// 50,000 of them a second, to ports that wait for an answer.
    FloodOfWrongIds,
    /// A forged answer with another ID, question, letter case, port or address comes before each answer.
    WrongPlaces,
    /// The answer is in lower case.
    WrongCase,
    /// A damaged answer with another address comes 5 ms before each answer.
    Damaged,
    /// The answer ends in the middle of a record, without TC.
    CutShort,
    /// The answers of this share of the names are truncated.
    Truncated(f64),
    /// The second fragment of each answer is lost.
    FragmentLost,
    /// The second fragment of each answer comes first.
    FragmentsReversed,
    /// FORMERR to what has an OPT record.
    NoEdns,
    OptSwallowed,
    OptionSwallowed,
}

/// What becomes of connections.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Streams {
    Well,
    /// Of this share of answers, the second half is missing, and the connection ends.
    Cut(f64),
    Bytes,
    Refused,
    Swallowed,
    /// Connections end after so many idle milliseconds.
    ClosesIdle(u64),
    /// Connections end at every so manyth query, which is not answered.
    ClosesAt(usize),
}

/// What clients do beside, or in place of, what they usually ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clients {
    Usual,
    /// Few names and no known ones.
    Few,
    /// So many names a second that take 4 s.
    Slow(u32),
    /// So many new names at once, each second.
    Bursts(u32),
    /// Another client asks so many new names a second.
    Flood(u32),
    /// So many connections ask 100 large answers each, and read nothing.
    Readers(usize),
}

/// What happens to the server, or to where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Nothing,
    /// SIGSTOP, then SIGCONT.
    Stop,
    /// SIGKILL, and started again at once.
    Kill,
    /// Replaced by a new process, again and again.
    Restarts,
    /// SIGHUP twice a second, with so many records.
    Reloads(u32),
    /// So many file descriptors more than are open, or fewer.
    Descriptors(i64),
    /// So many MiB of memory.
    Memory(u64),
    /// `ip` in the server's namespace: at the begin, at the end.
    Ip(&'static [&'static str], &'static [&'static str]),
    /// Where the log goes, and whether every query is logged.
    Log(Sink, bool),
}

/// Where a log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sink {
    /// A pipe that is not read.
    Unread,
    /// A pipe whose reader is gone.
    ReaderGone,
    /// A full disk.
    Full,
}

/// What happens to a datagram and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Answered after the usual time.
    Answered,
    /// Neither it nor its answer arrives.
    Lost,
    Twice,
    /// So much later than usual.
    Late(Duration),
    AfterWrongIds,
    AmongWrongIds,
    /// After a forged answer of one of the kinds.
    AfterWrongPlace(u32),
    /// After a damaged answer of this form.
    AfterDamaged(usize),
    LowerCase,
    CutShort,
    Truncated,
    FirstFragment,
    FragmentsReversed,
    /// An answer without records and with this code.
    Code(u8),
}

/// What decides on a query's fate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query {
    pub(crate) has_opt: bool,
    pub(crate) has_options: bool,
    /// Drawn for its name: from 0 to 1.
    pub(crate) draw: f64,
}

impl Time {
    /// In thirds of the run; the whole run where it has no time of its own.
    pub(crate) fn thirds(self) -> Option<Range<u32>> {
        match self {
            Self::Always => None,
            Self::Middle => Some(1..2),
            Self::FromThird => Some(1..3),
        }
    }

    /// Whether the run goes on after it.
    pub(crate) fn ends(self) -> bool {
        self == Self::Middle
    }

    /// In a run of this length.
    pub(crate) fn within(self, length: Duration) -> Range<Duration> {
        self.thirds().map_or(Duration::ZERO..length, |thirds| length / 3 * thirds.start..length / 3 * thirds.end)
    }
}

impl Fault {
    /// Whether it takes interfaces, routes or raw packets of its own.
    pub(crate) fn needs_network(&self) -> bool {
        matches!(self.act, Act::Ip(..))
            || matches!(self.datagrams, Datagrams::FragmentLost | Datagrams::FragmentsReversed)
            || self.is_loop()
    }

    pub(crate) fn is_loop(&self) -> bool {
        matches!(self.upstreams, Upstreams::Itself | Upstreams::ItselfThroughAnother)
    }

    /// Why a server is not measured with it.
    pub(crate) fn left_out(&self, server: Server) -> Option<&'static str> {
        match (server, self) {
            (Server::Dnsmasq, Self { transport: Transport::Tls | Transport::TlsExpired, .. }) => {
                Some("asks no upstream by TLS")
            }
            (Server::Dnsdist, Self { act: Act::Reloads(_), .. }) => Some("has no reload"),
            (Server::Dnsmasq, Self { act: Act::Restarts, .. }) => Some("two processes cannot share a port"),
            _ => None,
        }
    }
}

impl Datagrams {
    /// What happens to a query while the fault is.
    pub(crate) fn fate(self, rng: &mut StdRng, query: Query) -> Fate {
        let lost_if = |is: bool| if is { Fate::Lost } else { Fate::Answered };
        match self {
            Self::Well | Self::Limited => Fate::Answered,
            Self::Silent | Self::Closed => Fate::Lost,
            Self::Lost(share) => lost_if(rng.random_bool(share) || rng.random_bool(share)),
            Self::EveryThird => lost_if(!rng.next_u32().is_multiple_of(3)),
            Self::Twice => Fate::Twice,
            Self::Late { share, least, most } if rng.random_bool(share) => {
                Fate::Late(Duration::from_micros(rng.random_range(least * 1000..=most * 1000)))
            }
            Self::Late { .. } => Fate::Answered,
            Self::Code(code) => Fate::Code(code),
            Self::WrongIds => Fate::AfterWrongIds,
            Self::FloodOfWrongIds => Fate::AmongWrongIds,
            Self::WrongPlaces => Fate::AfterWrongPlace(rng.next_u32()),
            Self::WrongCase => Fate::LowerCase,
            Self::Damaged => Fate::AfterDamaged(rng.next_u32() as usize),
            Self::CutShort => Fate::CutShort,
            Self::Truncated(share) if query.draw < share => Fate::Truncated,
            Self::Truncated(_) => Fate::Answered,
            Self::FragmentLost => Fate::FirstFragment,
            Self::FragmentsReversed => Fate::FragmentsReversed,
            Self::NoEdns if query.has_opt => Fate::Code(1),
            Self::NoEdns => Fate::Answered,
            Self::OptSwallowed => lost_if(query.has_opt),
            Self::OptionSwallowed => lost_if(query.has_options),
        }
    }

    /// What happens to a query on a stream: what the upstream itself does, but nothing that the network does.
    pub(crate) fn stream_fate(self, rng: &mut StdRng, query: Query) -> Fate {
        match self {
            Self::Silent | Self::Closed | Self::Late { .. } | Self::Code(_) | Self::WrongCase | Self::NoEdns => {
                self.fate(rng, query)
            }
            _ => Fate::Answered,
        }
    }
}
