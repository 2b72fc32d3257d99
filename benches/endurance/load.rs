//! The load: so many queries a second whatever comes back, every one of them accounted for.
//!
//! A query is known by its socket and ID. A reply ends it, whenever it comes; what is still open when the run is over and
//! its patience with it is lost. What the kernel threw away at a full socket is asked of the kernel (`kernel.rs`).

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::dns;
use crate::mmsg::{BATCH, Mmsg};

/// Sockets, each from a port of its own, so that the kernel spreads them over the workers' sockets.
const SOCKETS: usize = 32;
/// Queries outstanding on a socket while the maximum is looked for.
const WINDOW: usize = 16;
/// How long a reply is waited for when nothing more is sent.
const PATIENCE: Duration = Duration::from_secs(5);
/// After how long without a reply a query no longer holds its place in the window.
const GIVEN_UP: Duration = Duration::from_millis(500);
/// A pause of the loop when there is nothing to do: the server needs the CPU more.
const PAUSE: Duration = Duration::from_micros(100);
/// How much of what it is late the generator makes good for: more at once would be another load than the one asked for.
const DEBT_MAX: f64 = 0.02;
/// Bytes of receive buffer asked for.
const RECEIVE_BUFFER: usize = 4 << 20;

/// How fast queries are sent.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// As fast as they are answered.
    Window,
    /// So many a second.
    Fixed(f64),
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    /// Replies with another code or address than the right one.
    pub(crate) wrong: u64,
    /// Replies to nothing.
    pub(crate) stray: u64,
    pub(crate) lost: u64,
    pub(crate) length: Duration,
    /// Not sent, because the generator itself was late.
    pub(crate) skipped: u64,
    /// How late the generator itself was at worst.
    pub(crate) lag: Duration,
    /// Sorted, microseconds.
    pub(crate) took: Vec<u32>,
}

struct Lane {
    socket: UdpSocket,
    /// By ID: when the query was sent, nanoseconds after the beginning and never 0, and the number of its name.
    open: Vec<(u64, u32)>,
    next: u16,
    under_way: usize,
}

/// The generator.
pub(crate) struct Load {
    lanes: Vec<Lane>,
    batch: Mmsg,
    template: Vec<u8>,
    names: u32,
    turn: u32,
}

impl Load {
    /// A generator that asks `server` for the names of so many records.
    pub(crate) fn new(server: SocketAddr, names: u32) -> io::Result<Self> {
        let lanes = (0..SOCKETS).map(|_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
            socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
            socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
            socket.connect(&server.into())?;
            socket.set_nonblocking(true)?;
            Ok(Lane { socket: socket.into(), open: vec![(0, 0); 1 << 16], next: 0, under_way: 0 })
        });
        let template = dns::query(0, &name(0), dns::A);
        Ok(Self { lanes: lanes.collect::<io::Result<_>>()?, batch: Mmsg::new(), template, names, turn: 0 })
    }

    /// The ports of its sockets.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.lanes.iter().filter_map(|lane| lane.socket.local_addr().ok()).map(|address| address.port()).collect()
    }

    /// Sends for `length`, or until `done`, and waits for what is under way.
    pub(crate) fn run(&mut self, pace: Pace, length: Duration, done: &AtomicBool) -> Outcome {
        let begin = Instant::now();
        let mut outcome = Outcome::default();
        let mut end = None;
        loop {
            let now = begin.elapsed();
            if end.is_none() && (now >= length || done.load(Ordering::Relaxed)) {
                end = Some(now);
                outcome.length = now;
            }
            let under_way: usize = self.lanes.iter().map(|lane| lane.under_way).sum();
            if end.is_some_and(|end| under_way == 0 || now > end + PATIENCE) {
                break;
            }
            let mut due = match pace {
                _ if end.is_some() => 0,
                Pace::Window => u64::MAX,
                Pace::Fixed(rate) => ((now.as_secs_f64() * rate) as u64).saturating_sub(outcome.sent + outcome.skipped),
            };
            if let Pace::Fixed(rate) = pace {
                outcome.lag = outcome.lag.max(Duration::from_secs_f64(due as f64 / rate));
                let most = (rate * DEBT_MAX) as u64;
                outcome.skipped += due.saturating_sub(most);
                due = due.min(most);
            }
            let share = due.div_ceil(SOCKETS as u64);
            let mut heard = 0;
            for place in 0..SOCKETS {
                let most = match pace {
                    Pace::Window if due > 0 => WINDOW.saturating_sub(self.lanes[place].under_way) as u64,
                    _ => share.min(due),
                };
                let sent = self.send(place, most as usize, begin);
                outcome.sent += sent;
                if due != u64::MAX {
                    due -= sent;
                }
                heard += self.hear(place, begin, &mut outcome);
            }
            if matches!(pace, Pace::Window) {
                self.give_up(begin, &mut outcome);
            }
            if heard == 0 {
                std::thread::sleep(PAUSE);
            }
        }
        for lane in &mut self.lanes {
            outcome.lost += lane.under_way as u64;
            lane.open.fill((0, 0));
            lane.under_way = 0;
        }
        outcome.took.sort_unstable();
        outcome
    }

    /// Sends at most `most` queries; gives how many went.
    fn send(&mut self, place: usize, most: usize, begin: Instant) -> u64 {
        let lane = &mut self.lanes[place];
        let now = (begin.elapsed().as_nanos() as u64).max(1);
        let mut count = 0;
        // A place that is taken belongs to a query of long ago: its answer may still come.
        while count < most.min(BATCH) && lane.open[usize::from(lane.next.wrapping_add(count as u16))].0 == 0 {
            self.turn = self.turn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = (self.turn >> 8) % self.names;
            let id = lane.next.wrapping_add(count as u16);
            lane.open[usize::from(id)] = (now, number);
            let template = &self.template;
            self.batch.write(count, |bytes, _| {
                bytes[..template.len()].copy_from_slice(template);
                bytes[..2].copy_from_slice(&id.to_be_bytes());
                write_digits(&mut bytes[14..20], number);
                template.len()
            });
            count += 1;
        }
        if count == 0 {
            return 0;
        }
        let sent = self.batch.send(lane.socket.as_fd(), count, false);
        for unsent in sent..count {
            lane.open[usize::from(lane.next.wrapping_add(unsent as u16))].0 = 0;
        }
        lane.next = lane.next.wrapping_add(sent as u16);
        lane.under_way += sent;
        sent as u64
    }

    fn hear(&mut self, place: usize, begin: Instant, outcome: &mut Outcome) -> usize {
        let lane = &mut self.lanes[place];
        let count = self.batch.receive(lane.socket.as_fd());
        let now = begin.elapsed().as_nanos() as u64;
        for index in 0..count {
            let bytes = self.batch.datagram(index);
            let Some(&[high, low, _, flags]) = bytes.first_chunk::<4>() else { continue };
            let id = usize::from(u16::from_be_bytes([high, low]));
            let (sent, number) = std::mem::take(&mut lane.open[id]);
            if sent == 0 {
                outcome.stray += 1;
                continue;
            }
            lane.under_way -= 1;
            outcome.answered += 1;
            let is_right = flags & 0x0f == 0
                && dns::Seen::parse(bytes).is_some_and(|seen| seen.address == Some(address(number).into()));
            outcome.wrong += u64::from(!is_right);
            outcome.took.push((now.saturating_sub(sent) / 1000).try_into().unwrap_or(u32::MAX));
        }
        count
    }

    /// Lets nothing that is lost hold the window.
    fn give_up(&mut self, begin: Instant, outcome: &mut Outcome) {
        let now = begin.elapsed();
        let Some(oldest) = now.checked_sub(GIVEN_UP).map(|oldest| oldest.as_nanos() as u64) else { return };
        for lane in &mut self.lanes {
            // The last IDs are the ones that may be open.
            for back in 1..=(WINDOW * 8) as u16 {
                let flight = &mut lane.open[usize::from(lane.next.wrapping_sub(back))];
                if flight.0 != 0 && flight.0 < oldest {
                    *flight = (0, 0);
                    lane.under_way -= 1;
                    outcome.lost += 1;
                }
            }
        }
    }
}

/// The name of a record: six digits behind one letter.
pub(crate) fn name(number: u32) -> String {
    format!("n{number:06}.endurance.example")
}

/// The address of a record.
pub(crate) fn address(number: u32) -> [u8; 4] {
    let [_, b, c, d] = number.to_be_bytes();
    [10, b, c, d]
}

fn write_digits(place: &mut [u8], mut number: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}
