//! The five scenarios: who asks what, how fast, and what happens to Azure DNS meanwhile.

use std::ops::Range;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::clients::{Group, Stream};
use crate::names::{BenchName, Kind};

/// A scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scenario {
    /// 20,000 queries a second, steady, caches warm
    #[value(name = "S1")]
    Steady,
    /// 10,000 queries a second, caches empty
    #[value(name = "S2")]
    Cold,
    /// 60 lookups a second of names that take 4 s, beside 2,000 queries a second
    #[value(name = "S3")]
    Slow,
    /// one host with 3,000 unique names a second, 200 quiet hosts
    #[value(name = "S4")]
    Noisy,
    /// Azure DNS dead for 20 s
    #[value(name = "S5")]
    Outage,
}

/// All of a scenario that the run needs.
pub(crate) struct Plan {
    pub(crate) hosts: usize,
    pub(crate) sockets_per_host: usize,
    /// Known names that are asked once before the run.
    pub(crate) warm: Range<u32>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) length: Duration,
    /// When Azure DNS is dead.
    pub(crate) outage: Option<Range<Duration>>,
}

impl Scenario {
    pub(crate) const ALL: [Self; 5] = [Self::Steady, Self::Cold, Self::Slow, Self::Noisy, Self::Outage];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Steady => "S1",
            Self::Cold => "S2",
            Self::Slow => "S3",
            Self::Noisy => "S4",
            Self::Outage => "S5",
        }
    }

    /// The plan, for a run of `seconds` where that is not the usual length, with so many hosts where it has no hosts of its own.
    pub(crate) fn plan(self, seconds: Option<u64>, hosts: usize) -> Plan {
        let length = |usual| Duration::from_secs(seconds.unwrap_or(usual));
        let plain = |group, rate, hosts, picker| Stream { group, rate, hosts, picker };
        match self {
            Self::Steady => Plan {
                hosts,
                sockets_per_host: 2,
                warm: 0..20_000,
                streams: vec![plain(Group::Quick, 20_000.0, 0..hosts, Picker::known(20_000, 0.04))],
                length: length(30),
                outage: None,
            },
            Self::Cold => Plan {
                hosts,
                sockets_per_host: 2,
                warm: 0..0,
                streams: vec![plain(Group::Quick, 10_000.0, 0..hosts, Picker::known(20_000, 0.05))],
                length: length(20),
                outage: None,
            },
            Self::Slow => Plan {
                hosts,
                sockets_per_host: 2,
                warm: 0..5_000,
                streams: vec![
                    plain(Group::Quick, 2_000.0, 0..hosts, Picker::known(5_000, 0.05)),
                    plain(Group::Slow, 60.0, 0..hosts, Picker::Slow(1_000)),
                ],
                length: length(30),
                outage: None,
            },
            Self::Noisy => Plan {
                hosts: 201,
                sockets_per_host: 4,
                warm: 0..5_000,
                streams: vec![
                    plain(Group::Quiet, 400.0, 0..200, Picker::known(5_000, 0.025)),
                    plain(Group::Noisy, 3_000.0, 200..201, Picker::New(1 << 30)),
                ],
                length: length(10),
                outage: None,
            },
            Self::Outage => {
                let length = length(40);
                Plan {
                    hosts,
                    sockets_per_host: 2,
                    warm: 0..5_000,
                    streams: vec![plain(Group::Quick, 2_000.0, 0..hosts, Picker::known(5_000, 0.028))],
                    length,
                    outage: Some(length / 4..length * 3 / 4),
                }
            }
        }
    }
}

/// Chooses names.
pub(crate) enum Picker {
    /// Known names by Zipf's law (exponent 1), and a share of names never asked before.
    Known { cumulated: Vec<f64>, new_share: f64, next_new: u32 },
    /// Names never asked before; the number of the next.
    New(u32),
    /// So many slow names, each as likely as the others.
    Slow(u32),
}

impl Picker {
    fn known(count: u32, new_share: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=count).map(|rank| 1.0 / f64::from(rank));
        let cumulated = weights
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        Self::Known { cumulated, new_share, next_new: 0 }
    }

    pub(crate) fn pick(&mut self, rng: &mut StdRng) -> BenchName {
        match self {
            Self::Known { cumulated, new_share, next_new } => {
                if rng.random::<f64>() < *new_share {
                    *next_new += 1;
                    return BenchName { kind: Kind::New, number: *next_new };
                }
                let sum = cumulated.last().copied().unwrap_or(1.0);
                let at = rng.random::<f64>() * sum;
                let number = cumulated.partition_point(|&below| below < at) as u32;
                BenchName { kind: Kind::Known, number }
            }
            Self::New(next) => {
                *next += 1;
                BenchName { kind: Kind::New, number: *next }
            }
            Self::Slow(count) => BenchName { kind: Kind::Slow, number: rng.random_range(0..*count) },
        }
    }
}
