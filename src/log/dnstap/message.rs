//! A message of dnstap.proto, encoded by hand: a few fields of Protocol Buffers.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use smallvec::SmallVec;

use super::Tapped;
use crate::wire::Transport;

/// Kinds of fields.
const VARINT: u32 = 0;
const BYTES: u32 = 2;
const FIXED32: u32 = 5;

/// `Dnstap.type`: a message.
const MESSAGE: u64 = 1;
/// `Message.type`.
const CLIENT_QUERY: u64 = 5;
const CLIENT_RESPONSE: u64 = 6;

/// Writes messages; what all of them have is written once.
pub(super) struct Encoder {
    /// The fields identity and version.
    head: Vec<u8>,
    message: Vec<u8>,
    whole: Vec<u8>,
}

impl Encoder {
    pub(super) fn new(identity: &str) -> Self {
        let mut head = Vec::new();
        push_bytes(&mut head, 1, identity.as_bytes());
        push_bytes(&mut head, 2, concat!("pldns ", env!("CARGO_PKG_VERSION")).as_bytes());
        Self { head, message: Vec::new(), whole: Vec::new() }
    }

    /// One query with its response.
    pub(super) fn encode(&mut self, tapped: &Tapped) -> &[u8] {
        let message = &mut self.message;
        message.clear();
        let has_reply = !tapped.reply.is_empty();
        push_number(message, 1, if has_reply { CLIENT_RESPONSE } else { CLIENT_QUERY });
        let protocol = match tapped.transport {
            Transport::Udp => 1,
            Transport::Tcp => 2,
            Transport::Tls => 3,
            Transport::Https => 4,
            Transport::Quic => 7,
        };
        let (family, address) = match tapped.client {
            IpAddr::V4(v4) => (1, SmallVec::<[u8; 16]>::from_slice(&v4.octets())),
            IpAddr::V6(v6) => (2, SmallVec::from(v6.octets())),
        };
        push_number(message, 2, family);
        push_number(message, 3, protocol);
        push_bytes(message, 4, &address);
        push_time(message, [8, 9], tapped.ended - tapped.took.min(Duration::from_secs(3600)));
        push_bytes(message, 10, &tapped.query);
        if has_reply {
            push_time(message, [12, 13], tapped.ended);
            push_bytes(message, 14, &tapped.reply);
        }
        let whole = &mut self.whole;
        whole.clear();
        whole.extend_from_slice(&self.head);
        // What became of the query, as in metrics and log.
        push_bytes(whole, 3, tapped.outcome.as_bytes());
        push_bytes(whole, 14, message);
        push_number(whole, 15, MESSAGE);
        whole
    }
}

fn push_varint(into: &mut Vec<u8>, mut value: u64) {
    while let Some(low) = u8::try_from(value & 0x7f).ok().filter(|_| value > 0x7f) {
        into.push(low | 0x80);
        value >>= 7;
    }
    into.extend(u8::try_from(value));
}

fn push_key(into: &mut Vec<u8>, field: u32, kind: u32) {
    push_varint(into, u64::from(field << 3 | kind));
}

fn push_number(into: &mut Vec<u8>, field: u32, value: u64) {
    push_key(into, field, VARINT);
    push_varint(into, value);
}

fn push_bytes(into: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    push_key(into, field, BYTES);
    push_varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

/// Seconds as a number, nanoseconds in four bytes.
fn push_time(into: &mut Vec<u8>, [seconds, nanoseconds]: [u32; 2], time: SystemTime) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    push_number(into, seconds, since.as_secs());
    push_key(into, nanoseconds, FIXED32);
    into.extend_from_slice(&since.subsec_nanos().to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_varints() {
        for (value, bytes) in [(0, &[0][..]), (1, &[1]), (127, &[127]), (128, &[0x80, 1]), (300, &[0xac, 2])] {
            let mut into = Vec::new();
            push_varint(&mut into, value);
            assert_eq!(into, bytes, "{value}");
        }
        let mut into = Vec::new();
        push_varint(&mut into, u64::MAX);
        assert_eq!(into, [&[0xff; 9][..], &[1]].concat());
    }

    #[test]
    fn a_message_is_encoded_field_by_field() {
        let tapped = Tapped {
            client: "10.0.0.1".parse().unwrap(),
            transport: Transport::Tls,
            query: Box::from(*b"Q"),
            reply: Box::from(*b"R"),
            outcome: "record",
            ended: SystemTime::UNIX_EPOCH + Duration::new(300, 5),
            took: Duration::from_nanos(3),
        };
        let mut encoder = Encoder::new("host");
        let version = concat!("pldns ", env!("CARGO_PKG_VERSION"));
        let message = [
            &[0x08, 6, 0x10, 1, 0x18, 3, 0x22, 4, 10, 0, 0, 1][..],
            &[0x40, 0xac, 2, 0x4d, 2, 0, 0, 0, 0x52, 1, b'Q'],
            &[0x60, 0xac, 2, 0x6d, 5, 0, 0, 0, 0x72, 1, b'R'],
        ]
        .concat();
        let mut expected = b"\x0a\x04host\x12".to_vec();
        expected.push(version.len() as u8);
        expected.extend_from_slice(version.as_bytes());
        expected.extend_from_slice(b"\x1a\x06record\x72");
        expected.push(message.len() as u8);
        expected.extend_from_slice(&message);
        expected.extend_from_slice(&[0x78, 1]);
        assert_eq!(encoder.encode(&tapped), expected);
        assert_eq!(encoder.encode(&tapped), expected, "nothing is left of the message before");
    }
}
