//! The datagrams of an upstream: answers that leave at their time, from its address or, forged, from another.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::fault::{Datagrams, Fate};
use crate::forge::{self, FORGED_IDS};
use crate::upstream::{Right, Shared};

/// From where a datagram is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum From {
    Here,
    OtherPort,
    OtherAddress,
    /// The first fragment of two, the second alone.
    FirstFragment,
    SecondFragment,
}

/// A datagram that leaves at its time, in the order of its number, to its place.
type Later = (Instant, u64, SocketAddr, From, Vec<u8>);
/// One that answers a query.
type Sent = (Duration, From, Vec<u8>);

/// Sockets of an upstream.
pub(crate) struct Sender {
    socket: Option<UdpSocket>,
    address: SocketAddr,
    other_port: UdpSocket,
    other_address: Option<UdpSocket>,
    /// For fragments.
    raw: Option<Socket>,
}

impl Sender {
    pub(crate) fn new(socket: UdpSocket, elsewhere: IpAddr) -> io::Result<Self> {
        socket.set_read_timeout(Some(Duration::from_millis(1)))?;
        let address = socket.local_addr()?;
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)).ok();
        let raw = raw.filter(|raw| raw.set_header_included_v4(true).is_ok());
        Ok(Self {
            socket: Some(socket),
            address,
            other_port: UdpSocket::bind((address.ip(), 0))?,
            other_address: UdpSocket::bind((elsewhere, address.port())).ok(),
            raw,
        })
    }

    /// Answers until the upstream is dropped.
    pub(crate) fn serve(mut self, shared: &Shared) {
        let mut later: BinaryHeap<Reverse<Later>> = BinaryHeap::new();
        let (mut buffer, mut number) = ([0; 4096], 0);
        while !shared.is_stopped() {
            if shared.fault.datagrams == Datagrams::Closed {
                self.open_or_close(shared.is_within());
            }
            let Some(socket) = &self.socket else {
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            if let Ok((len, from)) = socket.recv_from(&mut buffer) {
                let now = Instant::now();
                for (after, sender, message) in answers(shared, &buffer[..len], from) {
                    number += 1;
                    later.push(Reverse((now + after, number, from, sender, message)));
                }
            }
            while later.peek().is_some_and(|Reverse((at, ..))| *at <= Instant::now()) {
                let Some(Reverse((_, _, to, from, message))) = later.pop() else { break };
                self.send(&message, to, from);
            }
        }
    }

    fn open_or_close(&mut self, is_closed: bool) {
        if is_closed {
            self.socket = None;
        } else if self.socket.is_none() {
            self.socket = UdpSocket::bind(self.address).ok();
            let timeout = Some(Duration::from_millis(1));
            let _ = self.socket.as_ref().map(|socket| socket.set_read_timeout(timeout));
        }
    }

    fn send(&self, message: &[u8], to: SocketAddr, from: From) {
        let socket = match from {
            From::Here => self.socket.as_ref(),
            From::OtherPort => Some(&self.other_port),
            From::OtherAddress => self.other_address.as_ref(),
            From::FirstFragment | From::SecondFragment => {
                let half = &forge::fragments(self.address, to, message)[usize::from(from == From::SecondFragment)];
                let _ = self.raw.as_ref().map(|raw| raw.send_to(half, &SocketAddr::new(to.ip(), 0).into()));
                return;
            }
        };
        let _ = socket.map(|socket| socket.send_to(message, to));
    }
}

/// The datagrams that answer a query, each after its time.
fn answers(shared: &Shared, query: &[u8], from: SocketAddr) -> Vec<Sent> {
    let Some(right) = Right::of(query) else { return Vec::new() };
    let fate = shared.decide(query, &right, false);
    let Right { message: answer, slow, .. } = right;
    let end = forge::question_end(query);
    let usual = shared.usual();
    let here = |after, message| (after, From::Here, message);
    let after_those = |forged: Vec<(From, Vec<u8>)>| {
        let forged = forged.into_iter().map(|(from, message)| (usual / 2, from, message));
        forged.chain([here(usual, answer.clone())]).collect()
    };
    match fate {
        Fate::Answered => vec![here(usual + slow, answer)],
        Fate::Lost => Vec::new(),
        Fate::Twice => vec![here(usual, answer.clone()), here(usual, answer)],
        Fate::Late(by) => vec![here(usual + by, answer)],
        Fate::AfterWrongIds => {
            let forged = (1..=FORGED_IDS).map(|step| (From::Here, forge::other_id(&answer, end, step * 97)));
            after_those(forged.collect())
        }
        Fate::AmongWrongIds => {
            shared.forger.forge(from, forge::other_id(&answer, end, 1), usual);
            vec![here(usual, answer)]
        }
        Fate::AfterWrongPlace(kind) => after_those(vec![match kind % 5 {
            0 => (From::Here, forge::other_id(&answer, end, 1)),
            1 => (From::Here, forge::other_question(&answer, end)),
            2 => (From::Here, forge::other_case(&answer, end)),
            3 => (From::OtherPort, forge::forged(&answer, end)),
            _ => (From::OtherAddress, forge::forged(&answer, end)),
        }]),
        Fate::AfterDamaged(form) => {
            let right = here(usual + Duration::from_millis(5), answer.clone());
            vec![here(usual, forge::damaged(&answer, end, form)), right]
        }
        Fate::LowerCase => vec![here(usual, forge::lower_case(answer, end))],
        Fate::CutShort => vec![here(usual, answer[..end + 14].to_vec())],
        Fate::FirstFragment => vec![(usual, From::FirstFragment, answer)],
        Fate::FragmentsReversed => {
            vec![(usual, From::SecondFragment, answer.clone()), (usual, From::FirstFragment, answer)]
        }
        Fate::Truncated => {
            let mut truncated = forge::empty(&answer, end);
            truncated[2] |= 2;
            vec![here(usual, truncated)]
        }
        Fate::Code(code) => {
            let mut failure = forge::empty(&answer, end);
            failure[3] |= code;
            vec![here(usual, failure)]
        }
    }
}
