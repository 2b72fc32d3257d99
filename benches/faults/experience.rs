//! What clients saw.

use std::ops::Range;
use std::time::Duration;

/// A kind of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// Records of the server.
    Table,
    /// In the cache.
    Cached,
    /// In the cache, for 3 s each time.
    Expiring,
    /// Never asked before.
    Forwarded,
    /// Never asked before, and slow.
    Slow,
}

/// How a query ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With the right answer, after so many microseconds.
    Right(u32),
    /// With an error code or with another answer, after so many microseconds.
    Failed(u32),
    /// Without a reply.
    Silent,
}

/// A query that is over.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) group: Group,
    /// When it was asked, since the begin.
    pub(crate) asked: Duration,
    pub(crate) end: End,
}

/// What clients saw.
#[derive(Debug, Default)]
pub(crate) struct Experience {
    pub(crate) ended: Vec<Ended>,
    /// Answers with another address than the right one.
    pub(crate) wrong: usize,
    /// SERVFAIL and REFUSED with an Extended DNS Error (RFC 8914), and those without.
    pub(crate) explained: usize,
    pub(crate) unexplained: usize,
    /// Replies of any kind after the client's timeout.
    pub(crate) late: usize,
    /// Names of the flood.
    pub(crate) flood: usize,
}

impl Group {
    pub(crate) const ALL: [Self; 5] = [Self::Forwarded, Self::Expiring, Self::Cached, Self::Table, Self::Slow];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Cached => "cached",
            Self::Expiring => "expiring",
            Self::Forwarded => "forwarded",
            Self::Slow => "slow",
        }
    }
}

impl Experience {
    fn of(&self, group: Group) -> impl Iterator<Item = &Ended> {
        self.ended.iter().filter(move |ended| ended.group == group)
    }

    /// Right answers of a hundred, of queries asked in that time.
    pub(crate) fn success(&self, group: Group, asked: &Range<Duration>) -> Option<f64> {
        let (mut all, mut right) = (0, 0);
        for ended in self.of(group).filter(|ended| asked.contains(&ended.asked)) {
            all += 1;
            right += usize::from(matches!(ended.end, End::Right(_)));
        }
        (all > 0).then(|| right as f64 * 100.0 / all as f64)
    }

    /// How long right answers took, or failures, microseconds, sorted.
    pub(crate) fn times(&self, group: Group, are_right: bool) -> Vec<u32> {
        let took = |ended: &Ended| match ended.end {
            End::Right(took) if are_right => Some(took),
            End::Failed(took) if !are_right => Some(took),
            _ => None,
        };
        let mut times: Vec<u32> = self.of(group).filter_map(took).collect();
        times.sort_unstable();
        times
    }

    /// How many were asked.
    pub(crate) fn asked(&self, group: Group) -> usize {
        self.of(group).count()
    }

    /// How long after the end of a fault the last forwarded query was asked that got no right answer.
    pub(crate) fn recovery(&self, end: Duration) -> Duration {
        let failed = self.of(Group::Forwarded).filter(|ended| !matches!(ended.end, End::Right(_)));
        failed.map(|ended| ended.asked.saturating_sub(end)).max().unwrap_or_default()
    }
}
