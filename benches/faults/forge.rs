//! Answers that are not right: forged, damaged, in fragments.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::upstream::{Shared, lock};

/// Wrong IDs before an answer.
pub(crate) const FORGED_IDS: u16 = 20;
/// Wrong IDs a second in a flood.
const FLOOD: f64 = 50_000.0;
/// Damaged forms.
const FORMS: usize = 50;
/// The address in a forged answer.
const FORGED: [u8; 4] = [203, 0, 113, 66];
/// Of a datagram in fragments, the bytes of the first one behind the IP header, a multiple of 8.
const FRAGMENT: usize = 40;

/// Where the question of a message ends and its records begin.
pub(crate) fn question_end(message: &[u8]) -> usize {
    let name = message.get(12..).unwrap_or_default();
    let mut at = 0;
    while let Some(&len) = name.get(at).filter(|len| **len > 0) {
        at += 1 + usize::from(len);
    }
    12 + at + 5
}

/// The answer without its records.
pub(crate) fn empty(answer: &[u8], question_end: usize) -> Vec<u8> {
    let mut empty = answer[..question_end].to_vec();
    empty[6..12].fill(0);
    empty
}

/// The answer with another address.
pub(crate) fn forged(answer: &[u8], question_end: usize) -> Vec<u8> {
    let mut forged = answer.to_vec();
    if let Some(address) = forged.get_mut(question_end + 12..question_end + 16) {
        address.copy_from_slice(&FORGED);
    }
    forged
}

pub(crate) fn other_id(answer: &[u8], question_end: usize, step: u16) -> Vec<u8> {
    let mut forged = forged(answer, question_end);
    let id = u16::from_be_bytes([answer[0], answer[1]]).wrapping_add(step);
    forged[..2].copy_from_slice(&id.to_be_bytes());
    forged
}

pub(crate) fn other_question(answer: &[u8], question_end: usize) -> Vec<u8> {
    let mut forged = forged(answer, question_end);
    forged[13] = if forged[13].eq_ignore_ascii_case(&b'x') { b'y' } else { b'x' };
    forged
}

/// Every letter of the question in the other case.
pub(crate) fn other_case(answer: &[u8], question_end: usize) -> Vec<u8> {
    let mut forged = forged(answer, question_end);
    for byte in forged[12..question_end - 4].iter_mut().filter(|byte| byte.is_ascii_alphabetic()) {
        *byte ^= 0x20;
    }
    forged
}

pub(crate) fn lower_case(mut answer: Vec<u8>, question_end: usize) -> Vec<u8> {
    answer[12..question_end].make_ascii_lowercase();
    answer
}

/// A forged answer damaged in one of 50 ways; ID, question and address stay the upstream's. Its records are one address, its
/// owner a pointer, then perhaps an OPT record.
pub(crate) fn damaged(answer: &[u8], question_end: usize, form: usize) -> Vec<u8> {
    let mut bytes = forged(answer, question_end);
    let record = question_end;
    match form % FORMS {
        // It ends early: without records, or within the record, at every one of its 16 bytes.
        length @ 0..16 => bytes.truncate(record + length),
        // Counts of records that are not there, in each section.
        section @ 16..19 => bytes[7 + 2 * (section - 16)] = 9,
        19 => bytes[5] = 2,
        20 => bytes[5] = 0,
        21 => bytes[7] = 0,
        22 => bytes[6..12].fill(255),
        // An owner that is a pointer beyond the end, to itself, to the next byte, or no label of a known kind.
        23 => bytes[record..record + 2].copy_from_slice(&[0xc0, 0xff]),
        24 => bytes[record..record + 2].copy_from_slice(&[0xc0, record as u8]),
        25 => bytes[record..record + 2].copy_from_slice(&[0xc0, record as u8 + 1]),
        26 => bytes[record..record + 2].copy_from_slice(&[0x80, 0x0c]),
        27 => bytes[record..record + 2].copy_from_slice(&[0x40, 0x0c]),
        28 => bytes[record] = 63,
        // Another owner: the root, the question's parent, the header.
        29 => bytes[record..record + 2].copy_from_slice(&[0xc0, record as u8 - 5]),
        30 => bytes[record + 1] = 13 + answer[12],
        31 => bytes[record + 1] = 0,
        // Data of another length.
        length @ 32..36 => bytes[record + 11] = (length - 32) as u8,
        36 => bytes[record + 11] = 5,
        37 => bytes[record + 11] = 16,
        38 => bytes[record + 11] = 255,
        39 => bytes[record + 10] = 255,
        // Of another type, of types that no record has, and of other classes.
        40 => bytes[record + 3] = 28,
        41 => bytes[record + 3] = 5,
        42 => bytes[record + 3] = 41,
        43 => bytes[record + 3] = 255,
        44 => bytes[record + 3] = 0,
        45 => bytes[record + 5] = 3,
        46 => bytes[record + 5] = 255,
        // A question in it that is none, a second OPT record, and bytes behind the end.
        47 => bytes[2] &= 0x7f,
        48 => {
            bytes[11] = 2;
            bytes.truncate(record + 16);
            bytes.extend([[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]; 2].concat());
        }
        _ => bytes[2] |= 0x28,
    }
    bytes
}

/// The two fragments of a datagram, with their IP headers, which have the message's ID; the kernel fills in length and checksum.
pub(crate) fn fragments(from: SocketAddr, to: SocketAddr, message: &[u8]) -> [Vec<u8>; 2] {
    let (IpAddr::V4(source), IpAddr::V4(target)) = (from.ip(), to.ip()) else { return [Vec::new(), Vec::new()] };
    let mut datagram = Vec::with_capacity(8 + message.len());
    for field in [from.port(), to.port(), 8 + message.len() as u16, 0] {
        datagram.extend(field.to_be_bytes());
    }
    datagram.extend(message);
    let (first, second) = datagram.split_at(FRAGMENT.min(datagram.len()));
    let packet = |flags: u8, offset: u8, part: &[u8]| {
        let mut packet = vec![0x45, 0, 0, 0];
        packet.extend(&message[..2]);
        packet.extend([flags, offset, 64, 17, 0, 0]);
        packet.extend(source.octets());
        packet.extend(target.octets());
        packet.extend(part);
        packet
    };
    [packet(0x20, 0, first), packet(0, (FRAGMENT / 8) as u8, second)]
}

/// A port that waits for an answer, a forged one, and how long it waits.
type Open = (SocketAddr, Vec<u8>, Instant);

/// Floods open ports with wrong IDs, from the upstream's own address and port.
#[derive(Default)]
pub(crate) struct Forger {
    open: Mutex<VecDeque<Open>>,
    sent: AtomicU64,
}

impl Forger {
    /// Forges answers to a query for so long.
    pub(crate) fn forge(&self, to: SocketAddr, message: Vec<u8>, time: Duration) {
        lock(&self.open).push_back((to, message, Instant::now() + time));
    }

    /// Forged answers so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Sends until the upstream is dropped.
    pub(crate) fn run(&self, socket: &UdpSocket, shared: &Shared) {
        let (begin, mut sent, mut turn) = (Instant::now(), 0_u64, 0_usize);
        while !shared.is_stopped() {
            std::thread::sleep(Duration::from_millis(1));
            let now = Instant::now();
            let due = ((now - begin).as_secs_f64() * FLOOD) as u64;
            let mut open = lock(&self.open);
            while open.front().is_some_and(|(_, _, until)| *until <= now) {
                open.pop_front();
            }
            let now_open: Vec<Open> = open.iter().cloned().collect();
            drop(open);
            if !now_open.is_empty() {
                self.sent.fetch_add(due - sent, Ordering::Relaxed);
                for number in sent..due {
                    turn = (turn + 1) % now_open.len();
                    let (to, message, _) = &now_open[turn];
                    let right = u16::from_be_bytes([message[0], message[1]]).wrapping_sub(1);
                    let id = right.wrapping_add(1 + (number % 65_535) as u16);
                    let mut message = message.clone();
                    message[..2].copy_from_slice(&id.to_be_bytes());
                    let _ = socket.send_to(&message, to);
                }
            }
            sent = due;
        }
    }
}
