//! The load: names of every kind at one rate; each client waits 5 s, once.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::dns::{self, Seen};
use crate::upstream::right;

/// How long a client waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// Names of each kind that are asked again and again.
pub(crate) const KNOWN: u32 = 200;
/// Queries a second for names whose answers expire after 3 s.
const EXPIRING_RATE: u32 = 100;
/// Queries a second for names that take 4 s.
const SLOW_RATE: u32 = 30;
/// Queries at once, each second.
const BURST: u32 = 400;
/// Queries a second of a flood.
const FLOOD_RATE: u32 = 5000;

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

impl Group {
    fn name(self, number: u32) -> String {
        match self {
            Self::Table => table_name(number % KNOWN),
            Self::Cached => format!("k{}.known.test", number % KNOWN),
            Self::Expiring => format!("e{}.expiring.test", number % 50),
            Self::Forwarded => format!("n{number}.miss{}.test", number % 7),
            Self::Slow => format!("s{number}.slow.test"),
        }
    }
}

/// A name that the server has a record for.
pub(crate) fn table_name(number: u32) -> String {
    format!("r{number}.table.test")
}

/// A query that is over.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) group: Group,
    /// When it was asked, since the begin.
    pub(crate) asked: Duration,
    /// How long the right answer took, microseconds.
    pub(crate) took: Option<u32>,
}

/// What clients saw.
#[derive(Debug, Default)]
pub(crate) struct Experience {
    pub(crate) ended: Vec<Ended>,
    /// Answers with another address than the right one.
    pub(crate) wrong: usize,
    /// Replies of any kind after the client's timeout.
    pub(crate) late: usize,
    /// Names of the flood.
    pub(crate) flood: usize,
}

/// What is asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// Queries a second of each usual kind.
    pub(crate) rate: u32,
    /// The server has records.
    pub(crate) has_table: bool,
    pub(crate) has_slow: bool,
    pub(crate) has_bursts: bool,
    /// When another client floods.
    pub(crate) flood: Option<std::ops::Range<Duration>>,
}

struct Open {
    group: Group,
    name: String,
    at: Instant,
    is_over: bool,
}

/// Clients that share one socket; each query has an ID of its own among those that wait.
pub(crate) struct Load {
    socket: UdpSocket,
    /// The client that floods.
    other: UdpSocket,
    plan: Plan,
    waiting: Vec<Option<Open>>,
    sent: VecDeque<(Instant, u16)>,
    next_id: u16,
    start: Instant,
    experience: Experience,
}

impl Load {
    pub(crate) fn new(server: SocketAddr, plan: Plan) -> io::Result<Self> {
        let client = |address: &str| {
            let socket = UdpSocket::bind(address)?;
            socket.connect(server)?;
            socket.set_nonblocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        Ok(Self {
            socket: client("127.0.0.1:0")?,
            other: client("127.0.0.9:0")?,
            plan,
            waiting: (0..1 << 16).map(|_| None).collect(),
            sent: VecDeque::new(),
            next_id: 1,
            start: Instant::now(),
            experience: Experience::default(),
        })
    }

    /// Brings the known names into the cache.
    pub(crate) fn warm(&mut self) {
        for number in 0..KNOWN {
            self.ask(Group::Cached, number);
            if number < 50 {
                self.ask(Group::Expiring, number);
            }
            self.pass(Duration::from_millis(3));
        }
        self.wait(Duration::from_secs(1));
        self.experience = Experience::default();
    }

    /// Asks for `length`, then waits for what is open; `at` is called every turn with the time since the begin.
    pub(crate) fn run(&mut self, length: Duration, mut at: impl FnMut(Duration)) -> Experience {
        let rates = [
            (Group::Forwarded, self.plan.rate),
            (Group::Cached, self.plan.rate),
            (Group::Table, if self.plan.has_table { self.plan.rate } else { 0 }),
            (Group::Expiring, EXPIRING_RATE),
            (Group::Slow, if self.plan.has_slow { SLOW_RATE } else { 0 }),
        ];
        let mut asked = rates.map(|_| 0_u32);
        let (mut bursts, mut flooded, mut extra) = (0_u64, 0_u32, 1_u32 << 20);
        self.start = Instant::now();
        loop {
            let since = self.start.elapsed();
            at(since);
            if since >= length {
                break;
            }
            for ((group, rate), asked) in rates.into_iter().zip(&mut asked) {
                let due = (since.as_secs_f64() * f64::from(rate)) as u32;
                while *asked < due {
                    self.ask(group, *asked);
                    *asked += 1;
                }
            }
            if self.plan.has_bursts && since.as_secs() > bursts {
                bursts = since.as_secs();
                for _ in 0..BURST {
                    self.ask(Group::Forwarded, extra);
                    extra += 1;
                }
            }
            if let Some(flood) = self.plan.flood.clone().filter(|flood| flood.contains(&since)) {
                let due = ((since - flood.start).as_secs_f64() * f64::from(FLOOD_RATE)) as u32;
                while flooded < due {
                    let _ = self.other.send(&dns::query(flooded as u16, &format!("f{flooded}.flood.test"), dns::A));
                    flooded += 1;
                }
                let mut buffer = [0; 4096];
                while self.other.recv(&mut buffer).is_ok() {}
            }
            self.pass(Duration::from_micros(100));
        }
        self.wait(PATIENCE);
        // Replies that are late, if there are any.
        self.pass(Duration::from_millis(200));
        self.experience.flood = flooded as usize;
        std::mem::take(&mut self.experience)
    }

    fn wait(&mut self, most: Duration) {
        let end = Instant::now() + most;
        while Instant::now() < end && !self.sent.is_empty() {
            self.pass(Duration::from_micros(200));
        }
        self.expire(Duration::ZERO);
    }

    fn pass(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            self.listen();
            if Instant::now() >= end {
                return;
            }
            std::thread::sleep(time.min(Duration::from_micros(200)));
        }
    }

    fn ask(&mut self, group: Group, number: u32) {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let (at, name) = (Instant::now(), group.name(number));
        let _ = self.socket.send(&dns::query(id, &name, dns::A));
        self.waiting[usize::from(id)] = Some(Open { group, name, at, is_over: false });
        self.sent.push_back((at, id));
    }

    fn end(&mut self, id: u16, took: Option<u32>) {
        let Some(open) = self.waiting[usize::from(id)].as_mut().filter(|open| !open.is_over) else { return };
        open.is_over = true;
        let asked = open.at.saturating_duration_since(self.start);
        self.experience.ended.push(Ended { group: open.group, asked, took });
    }

    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(len) = self.socket.recv(&mut buffer) {
            let now = Instant::now();
            let Some(seen) = Seen::parse(&buffer[..len]) else { continue };
            let id = u16::from_be_bytes([buffer[0], buffer[1]]);
            let Some(open) = self.waiting[usize::from(id)].as_ref().filter(|open| open.name == seen.name) else {
                continue;
            };
            let took = now - open.at;
            if took >= PATIENCE {
                self.experience.late += 1;
                continue;
            }
            let is_right = seen.address.map(|address| address == right(&open.name));
            self.experience.wrong += usize::from(is_right == Some(false));
            let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
            self.end(id, Some(took).filter(|_| seen.rcode == 0 && is_right == Some(true)));
        }
        self.expire(PATIENCE);
    }

    fn expire(&mut self, patience: Duration) {
        let is_over = |open: &Option<Open>| open.as_ref().is_none_or(|open| open.is_over);
        while let Some(&(at, id)) = self.sent.front() {
            if !is_over(&self.waiting[usize::from(id)]) && at.elapsed() < patience {
                return;
            }
            self.end(id, None);
            self.sent.pop_front();
        }
    }
}

impl Experience {
    /// Right answers of a hundred, of queries asked in that time.
    pub(crate) fn success(&self, group: Group, asked: std::ops::Range<Duration>) -> Option<f64> {
        let those = || self.ended.iter().filter(|ended| ended.group == group && asked.contains(&ended.asked));
        let right = those().filter(|ended| ended.took.is_some()).count();
        (those().count() > 0).then(|| right as f64 * 100.0 / those().count() as f64)
    }

    /// How long right answers took, microseconds, sorted.
    pub(crate) fn times(&self, group: Group) -> Vec<u32> {
        let mut times: Vec<u32> =
            self.ended.iter().filter(|ended| ended.group == group).filter_map(|ended| ended.took).collect();
        times.sort_unstable();
        times
    }

    /// How many were asked.
    pub(crate) fn asked(&self, group: Group) -> usize {
        self.ended.iter().filter(|ended| ended.group == group).count()
    }

    /// How long after the end of a fault the last forwarded query was asked that got no right answer.
    pub(crate) fn recovery(&self, end: Duration) -> Duration {
        let failed = self.ended.iter().filter(|ended| ended.group == Group::Forwarded && ended.took.is_none());
        failed.map(|ended| ended.asked.saturating_sub(end)).max().unwrap_or_default()
    }
}
