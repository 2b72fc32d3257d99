//! The four streams of queries, and the data that the servers are given for them.

use std::net::Ipv4Addr;

use crate::dns::{A, address_of, query};

/// Type AAAA.
const AAAA: u16 = 28;
/// Names that are forwarded once and then cached.
pub(crate) const CACHED: u32 = 50_000;
/// The zone of the records.
pub(crate) const ZONE: &str = "bench.example";
/// Digits of the number in a name that is new.
const DIGITS: usize = 10;

/// A stream of queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Work {
    /// records: 90 % A, 5 % NODATA, 5 % NXDOMAIN
    #[value(name = "W1")]
    Records,
    /// forwarded names, all in the cache
    #[value(name = "W2")]
    Cached,
    /// every query is forwarded
    #[value(name = "W3")]
    Forwarded,
    /// 70 % records, 25 % cached, 5 % forwarded
    #[value(name = "W4")]
    Mixed,
}

impl Work {
    pub(crate) const ALL: [Self; 4] = [Self::Records, Self::Cached, Self::Forwarded, Self::Mixed];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Records => "W1",
            Self::Cached => "W2",
            Self::Forwarded => "W3",
            Self::Mixed => "W4",
        }
    }

    /// Whether servers need the records.
    pub(crate) fn has_records(self) -> bool {
        matches!(self, Self::Records | Self::Mixed)
    }

    /// Whether the cache has to be warm.
    pub(crate) fn has_cached(self) -> bool {
        matches!(self, Self::Cached | Self::Mixed)
    }
}

/// What is sent, and what must come back.
pub(crate) struct Template {
    pub(crate) message: Box<[u8]>,
    pub(crate) rcode: u8,
    pub(crate) address: Option<Ipv4Addr>,
}

impl Template {
    pub(crate) fn new(name: &str, qtype: u16, rcode: u8) -> Self {
        let label = name.split('.').next().unwrap_or(name);
        let address = (qtype == A && rcode == 0).then(|| address_of(label));
        Self { message: query(0, name, qtype).into(), rcode, address }
    }
}

/// One of a stream's kinds of queries.
enum Class {
    Fixed(Vec<Template>),
    /// Names never asked before: made as they are needed.
    New,
}

/// A stream, ready to be drawn from.
pub(crate) struct Source {
    /// Each class with the share of draws, in percent, that it and those before it have.
    classes: Vec<(u64, Class)>,
    random: u64,
    next_new: u64,
    /// One for each length that new names have.
    new: Vec<Template>,
}

/// The owner of a record.
pub(crate) fn record_name(number: u32) -> String {
    format!("r{number}.{ZONE}")
}

fn records(count: u32) -> [Class; 3] {
    let of = |numbers: std::ops::Range<u32>, letter: char, qtype, rcode| {
        let name = |number| format!("{letter}{number}.{ZONE}");
        Class::Fixed(numbers.map(|number| Template::new(&name(number), qtype, rcode)).collect())
    };
    let few = 0..count.min(100_000);
    [of(0..count, 'r', A, 0), of(few.clone(), 'r', AAAA, 0), of(few, 'x', A, 3)]
}

fn cached() -> Class {
    let name = |number| format!("c{number}.z{}.cached.example", number % 64);
    Class::Fixed((0..CACHED).map(|number| Template::new(&name(number), A, 0)).collect())
}

impl Source {
    /// The stream of `work` over `count` records; its new names have so many `lengths`, in turn.
    pub(crate) fn new(work: Work, count: u32, lengths: u8) -> Self {
        let [addresses, no_data, missing] = if work.has_records() { records(count) } else { records(0) };
        let classes = match work {
            Work::Records => vec![(90, addresses), (95, no_data), (100, missing)],
            Work::Cached => vec![(100, cached())],
            Work::Forwarded => vec![(100, Class::New)],
            Work::Mixed => vec![(63, addresses), (66, no_data), (70, missing), (95, cached()), (100, Class::New)],
        };
        let new = (0..lengths.max(1)).map(|more| {
            Template::new(&format!("u{}{}.forwarded.example", "0".repeat(DIGITS), "x".repeat(more.into())), A, 0)
        });
        let new = new.collect();
        Self { classes, random: 0x9e37_79b9_7f4a_7c15, next_new: 0, new }
    }

    /// Each of the queries as often as any other.
    pub(crate) fn of(queries: Vec<Template>) -> Self {
        let random = 0x9e37_79b9_7f4a_7c15;
        Self { classes: vec![(100, Class::Fixed(queries))], random, next_new: 0, new: Vec::new() }
    }

    /// Every name that has to be in the cache.
    pub(crate) fn to_warm() -> Vec<Template> {
        match cached() {
            Class::Fixed(templates) => templates,
            Class::New => Vec::new(),
        }
    }

    /// The next query.
    pub(crate) fn draw(&mut self) -> &Template {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let percent = self.random % 100;
        let place = self.classes.iter().position(|(until, _)| percent < *until).unwrap_or(0);
        match &self.classes[place].1 {
            Class::Fixed(templates) => &templates[(self.random >> 20) as usize % templates.len()],
            Class::New => {
                self.next_new += 1;
                let digits = format!("{:0width$}", self.next_new, width = DIGITS);
                let more = self.next_new as usize % self.new.len();
                let new = &mut self.new[more];
                // Behind the header, the label's length and its letter.
                new.message[14..14 + DIGITS].copy_from_slice(digits.as_bytes());
                new.address = Some(address_of(&format!("u{digits}{}", "x".repeat(more))));
                new
            }
        }
    }
}
