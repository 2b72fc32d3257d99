//! The load: names of every kind at one rate; each client waits 5 s, once, and asks by TCP for what is truncated.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::ops::Range;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::dns::{self, Seen};
use crate::experience::{End, Ended, Experience, Group};
use crate::fault::Clients;
use crate::forge::question_end;
use crate::place::Place;
use crate::upstream::right;

/// How long a client waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// Names of each kind that are asked again and again.
pub(crate) const KNOWN: u32 = 200;
/// Those of them whose answers expire.
const EXPIRING: u32 = 50;
/// Queries a second for these.
const EXPIRING_RATE: u32 = 100;
/// Response codes of failures.
const SERVFAIL: u8 = 2;
const REFUSED: u8 = 5;
/// New names a second where there are few.
const FEW_RATE: u32 = 5;

impl Group {
    fn query_name(self, number: u32) -> String {
        match self {
            Self::Table => table_name(number % KNOWN),
            Self::Cached => format!("k{}.known.test", number % KNOWN),
            Self::Expiring => format!("e{}.expiring.test", number % EXPIRING),
            Self::Forwarded => format!("n{number}.miss{}.test", number % 7),
            Self::Slow => format!("s{number}.slow.test"),
        }
    }
}

/// A name that the server has a record for.
pub(crate) fn table_name(number: u32) -> String {
    format!("r{number}.table.test")
}

/// What is asked.
pub(crate) struct Plan {
    pub(crate) server: SocketAddr,
    /// Queries a second of each usual kind.
    pub(crate) rate: u32,
    /// The server has records.
    pub(crate) has_table: bool,
    pub(crate) clients: Clients,
    /// When another client floods.
    pub(crate) flood: Range<Duration>,
}

struct Open {
    group: Group,
    name: String,
    at: Instant,
    is_over: bool,
    /// Asked by TCP as well.
    by_tcp: bool,
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
    /// Replies by TCP.
    by_tcp: (mpsc::Sender<Vec<u8>>, mpsc::Receiver<Vec<u8>>),
    experience: Experience,
}

impl Load {
    pub(crate) fn new(place: &Place, plan: Plan) -> io::Result<Self> {
        let client = |address| {
            let socket = UdpSocket::bind((address, 0))?;
            socket.connect(plan.server)?;
            socket.set_nonblocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        Ok(Self {
            socket: client(place.client())?,
            other: client(place.other_client())?,
            plan,
            waiting: (0..1 << 16).map(|_| None).collect(),
            sent: VecDeque::new(),
            next_id: 1,
            start: Instant::now(),
            by_tcp: mpsc::channel(),
            experience: Experience::default(),
        })
    }

    /// Brings the known names into the cache.
    pub(crate) fn warm(&mut self) {
        let known = if self.plan.clients == Clients::Few { 0 } else { KNOWN };
        for number in 0..known {
            self.ask(Group::Cached, number);
            if number < EXPIRING {
                self.ask(Group::Expiring, number);
            }
            self.pass(Duration::from_millis(3));
        }
        self.wait(Duration::from_secs(1));
        self.experience = Experience::default();
    }

    fn rates(&self) -> [(Group, u32); 5] {
        let (rate, clients) = (self.plan.rate, self.plan.clients);
        let known = |rate| if clients == Clients::Few { 0 } else { rate };
        [
            (Group::Forwarded, if clients == Clients::Few { FEW_RATE } else { rate }),
            (Group::Cached, known(rate)),
            (Group::Table, if self.plan.has_table { rate } else { 0 }),
            (Group::Expiring, known(EXPIRING_RATE)),
            (Group::Slow, if let Clients::Slow(rate) = clients { rate } else { 0 }),
        ]
    }

    /// Asks for `length`, then waits for what is open.
    pub(crate) fn run(&mut self, length: Duration) -> Experience {
        let rates = self.rates();
        let mut asked = rates.map(|_| 0_u32);
        let (mut bursts, mut flooded, mut extra) = (0_u64, 0_u32, 1_u32 << 20);
        self.start = Instant::now();
        loop {
            let since = self.start.elapsed();
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
            match self.plan.clients {
                Clients::Bursts(count) if since.as_secs() > bursts => {
                    bursts = since.as_secs();
                    for _ in 0..count {
                        self.ask(Group::Forwarded, extra);
                        extra += 1;
                    }
                }
                Clients::Flood(rate) if self.plan.flood.contains(&since) => {
                    let due = ((since - self.plan.flood.start).as_secs_f64() * f64::from(rate)) as u32;
                    self.flood(flooded..due);
                    flooded = due.max(flooded);
                }
                _ => {}
            }
            self.pass(Duration::from_micros(100));
        }
        self.wait(PATIENCE);
        // Replies that are late, if there are any.
        self.pass(Duration::from_millis(200));
        self.experience.flood = flooded as usize;
        std::mem::take(&mut self.experience)
    }

    fn flood(&self, numbers: Range<u32>) {
        for number in numbers {
            let _ = self.other.send(&dns::query(number as u16, &format!("f{number}.flood.test"), dns::A));
        }
        let mut buffer = [0; 4096];
        while self.other.recv(&mut buffer).is_ok() {}
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
        let (at, name) = (Instant::now(), group.query_name(number));
        let _ = self.socket.send(&dns::query(id, &name, dns::A));
        self.waiting[usize::from(id)] = Some(Open { group, name, at, is_over: false, by_tcp: false });
        self.sent.push_back((at, id));
    }

    fn end(&mut self, id: u16, end: End) {
        let Some(open) = self.waiting[usize::from(id)].as_mut().filter(|open| !open.is_over) else { return };
        open.is_over = true;
        let asked = open.at.saturating_duration_since(self.start);
        self.experience.ended.push(Ended { group: open.group, asked, end });
    }

    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(len) = self.socket.recv(&mut buffer) {
            self.hear(&buffer[..len]);
        }
        while let Ok(reply) = self.by_tcp.1.try_recv() {
            self.hear(&reply);
        }
        self.expire(PATIENCE);
    }

    fn hear(&mut self, reply: &[u8]) {
        let now = Instant::now();
        let Some(seen) = Seen::parse(reply) else { return };
        let id = u16::from_be_bytes([reply[0], reply[1]]);
        let Some(open) = self.waiting[usize::from(id)].as_mut().filter(|open| open.name == seen.name) else { return };
        let took = now - open.at;
        if took >= PATIENCE {
            self.experience.late += 1;
            return;
        }
        if open.is_over {
            return;
        }
        if seen.is_cut {
            if !std::mem::replace(&mut open.by_tcp, true) {
                let (query, sender) = (dns::query(id, &open.name, dns::A), self.by_tcp.0.clone());
                let (server, left) = (self.plan.server, PATIENCE - took);
                std::thread::spawn(move || ask_by_tcp(server, &query, left).map(|reply| sender.send(reply)));
            }
            return;
        }
        let is_right = seen.address.map(|address| address == right(&open.name));
        self.experience.wrong += usize::from(is_right == Some(false));
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        if seen.rcode == 0 && is_right == Some(true) {
            self.end(id, End::Right(took));
        } else {
            let (is_error, is_explained) = (matches!(seen.rcode, SERVFAIL | REFUSED), is_explained(reply));
            self.experience.explained += usize::from(is_error && is_explained);
            self.experience.unexplained += usize::from(is_error && !is_explained);
            self.end(id, End::Failed(took));
        }
    }

    fn expire(&mut self, patience: Duration) {
        let is_over = |open: &Option<Open>| open.as_ref().is_none_or(|open| open.is_over);
        while let Some(&(at, id)) = self.sent.front() {
            if !is_over(&self.waiting[usize::from(id)]) && at.elapsed() < patience {
                return;
            }
            self.end(id, End::Silent);
            self.sent.pop_front();
        }
    }
}

/// Whether a failure has an Extended DNS Error in the OPT record behind its question.
fn is_explained(reply: &[u8]) -> bool {
    let Some(mut options) =
        reply.get(question_end(reply)..).and_then(|opt| opt.strip_prefix(&[0, 0, 41])).and_then(|opt| opt.get(8..))
    else {
        return false;
    };
    while let &[high, low, len_high, len_low, ref data @ ..] = options {
        if (high, low) == (0, 15) {
            return true;
        }
        options = data.get(usize::from(u16::from_be_bytes([len_high, len_low]))..).unwrap_or_default();
    }
    false
}

fn ask_by_tcp(server: SocketAddr, query: &[u8], left: Duration) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, left).ok()?;
    stream.set_read_timeout(Some(left)).ok()?;
    stream.write_all(&[&(query.len() as u16).to_be_bytes()[..], query].concat()).ok()?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply).ok()?;
    Some(reply)
}
