//! Names in messages, which may end in a compression pointer (RFC 1035 §4.1.4).
//!
//! Pointers only lead backwards, at most [`POINTERS_MAX`] of them in one name, and a name ends within 255 bytes (RFC 9267 lists
//! what happens to implementations that trust them).

use smallvec::SmallVec;

use super::Name;
use super::name::{LABEL_MAX, NAME_MAX};

/// Pointers followed in one name: a name of 255 bytes has at most 127 labels, so no honest one needs more.
pub const POINTERS_MAX: u8 = 127;

/// The place behind the name at `at`, which may end in a pointer that is not followed.
pub fn skip_name(bytes: &[u8], at: usize) -> Option<usize> {
    let mut here = at;
    loop {
        let len = *bytes.get(here)? as usize;
        match len {
            0 => return Some(here + 1),
            1..=LABEL_MAX => here += 1 + len,
            0xc0.. => {
                bytes.get(here + 1)?;
                return Some(here + 2);
            }
            _ => return None,
        }
        if here - at > NAME_MAX {
            return None;
        }
    }
}

/// The name at `at`, uncompressed, and the place behind it.
///
/// A pointer must lead before the place where the labels that it continues began, so that reading ends.
pub fn read_name(bytes: &[u8], at: usize) -> Option<(Name, usize)> {
    let mut wire = Vec::with_capacity(64);
    let end = walk_name(bytes, at, |labels| wire.extend_from_slice(labels))?;
    Some((Name::from_wire(&wire)?, end))
}

/// How much comparing the names of one message may cost: a pointer is one step, a label one, and one
/// more for every 16 bytes. Honest messages need a few
/// thousand at most; one that needs more is built to be expensive.
#[derive(Debug)]
pub(super) struct Steps(u32);

impl Steps {
    /// Steps for one message, of whatever size.
    pub(super) fn for_message() -> Self {
        Self(1 << 16)
    }

    #[inline]
    pub(super) fn take(&mut self) -> Option<()> {
        self.take_many(1)
    }

    #[inline]
    fn take_many(&mut self, steps: u32) -> Option<()> {
        self.0 = self.0.checked_sub(steps)?;
        Some(())
    }
}

/// Whether the names at two places of a sound message are one, whatever their case; `None` where one of them cannot be
/// read, or the steps are spent. That one is a pointer to the other, as most CNAME targets are written, is seen without
/// a look at labels.
pub(super) fn is_same_name(bytes: &[u8], mut one: usize, mut other: usize, steps: &mut Steps) -> Option<bool> {
    loop {
        steps.take()?;
        let (len, other_len) = (settle(bytes, &mut one, steps)?, settle(bytes, &mut other, steps)?);
        if one == other {
            return Some(true);
        }
        if len != other_len {
            return Some(false);
        }
        if len == 0 {
            return Some(true);
        }
        steps.take_many(u32::try_from(len).ok()? / 16)?;
        let (label, other_label) = (bytes.get(one..=one + len)?, bytes.get(other..=other + len)?);
        if !label.eq_ignore_ascii_case(other_label) {
            return Some(false);
        }
        (one, other) = (one + 1 + len, other + 1 + len);
    }
}

/// Follows pointers from `at` to the next label; gives its length, 0 for the root's.
#[inline]
fn settle(bytes: &[u8], at: &mut usize, steps: &mut Steps) -> Option<usize> {
    loop {
        let len = usize::from(*bytes.get(*at)?);
        match len {
            0..=LABEL_MAX => return Some(len),
            0xc0.. => {
                *at = pointer(bytes, *at, len)?;
                steps.take()?;
            }
            _ => return None,
        }
    }
}

/// Where the pointer at `at`, whose first byte is `first`, leads.
#[inline]
pub(super) fn pointer(bytes: &[u8], at: usize, first: usize) -> Option<usize> {
    Some((first & 0x3f) << 8 | usize::from(*bytes.get(at + 1)?))
}

/// Appends the name at `at` to `out`, uncompressed and in lower case; gives the place behind it, or nothing and `out` as
/// it was.
pub fn push_lower_name<A: smallvec::Array<Item = u8>>(bytes: &[u8], at: usize, out: &mut SmallVec<A>) -> Option<usize> {
    let start = out.len();
    let end = walk_name(bytes, at, |labels| out.extend_from_slice(labels));
    match end {
        // Length bytes are below every letter.
        Some(_) => out.get_mut(start..)?.make_ascii_lowercase(),
        None => out.truncate(start),
    }
    end
}

/// Calls `take` with the labels of the name at `at`, their length bytes in front, that of the root at last: once for
/// each run of them that follow one another. Gives the place after the name.
pub(super) fn walk_name(bytes: &[u8], at: usize, mut take: impl FnMut(&[u8])) -> Option<usize> {
    let (mut here, mut run_start, mut end, mut length, mut pointers) = (at, at, None, 0, POINTERS_MAX);
    loop {
        let len = *bytes.get(here)? as usize;
        match len {
            0 => {
                take(bytes.get(run_start..=here)?);
                return Some(end.unwrap_or(here + 1));
            }
            1..=LABEL_MAX => {
                length += 1 + len;
                if length >= NAME_MAX {
                    return None;
                }
                here += 1 + len;
            }
            0xc0.. => {
                let target = pointer(bytes, here, len)?;
                pointers = pointers.checked_sub(1)?;
                if target >= run_start {
                    return None;
                }
                take(bytes.get(run_start..here)?);
                end.get_or_insert(here + 2);
                (here, run_start) = (target, target);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Header;

    /// A header without records: names follow it at 12.
    fn header() -> Vec<u8> {
        Header { id: 1, flags: 0x8180, qdcount: 0, ancount: 0, nscount: 0, arcount: 0 }.to_bytes().to_vec()
    }

    #[test]
    fn pointers_lead_backwards_only() {
        let mut bytes = header();
        bytes.extend_from_slice(b"\x01a\xc0\x0c"); // points at itself through a label
        assert_eq!(read_name(&bytes, 12), None);
        let mut bytes = header();
        bytes.extend_from_slice(b"\xc0\x0e\xc0\x0c"); // two pointers at each other
        assert_eq!(read_name(&bytes, 12), None);
        assert_eq!(read_name(&bytes, 14), None);
    }

    #[test]
    fn names_are_read_across_pointers() {
        let mut bytes = header();
        bytes.extend_from_slice(b"\x02ms\0\x03api\xc0\x0c\x01w\xc0\x10");
        let (name, end) = read_name(&bytes, 22).unwrap();
        assert_eq!(name, Name::parse("w.api.ms").unwrap());
        assert_eq!(end, 26);
    }

    #[test]
    fn a_name_of_256_bytes_through_pointers_is_none() {
        let mut bytes = header();
        let label = [&[63u8][..], &[b'a'; 63]].concat();
        let start = bytes.len();
        bytes.extend_from_slice(&label);
        bytes.push(0);
        for _ in 0..3 {
            let at = bytes.len();
            let previous = if at == start + 65 { start } else { at - 66 };
            bytes.extend_from_slice(&label);
            bytes.extend_from_slice(&(0xc000 | previous as u16).to_be_bytes());
        }
        assert!(read_name(&bytes, bytes.len() - 66 - 66).is_some());
        assert_eq!(read_name(&bytes, bytes.len() - 66), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            for at in 0..bytes.len() {
                let _ = read_name(&bytes, at);
                let _ = skip_name(&bytes, at);
            }
        }

        #[test]
        fn names_are_the_same_where_they_read_the_same(
            bytes in proptest::collection::vec(proptest::sample::select(b"\0\x01\x02\x03aAbB\xc0\x02\x01\0".as_slice()), 2..24)
        ) {
            let read = |at| read_name(&bytes, at).map(|(name, end)| (name.to_lowercase(), end));
            for one in 0..bytes.len() {
                let mut pushed = SmallVec::<[u8; 8]>::from_slice(b"x");
                let end = push_lower_name(&bytes, one, &mut pushed);
                let expected = read(one);
                proptest::prop_assert_eq!(end, expected.as_ref().map(|(_, end)| *end));
                proptest::prop_assert_eq!(&pushed[1..], expected.as_ref().map_or(&[][..], |(name, _)| name.as_wire()));
                for other in 0..bytes.len() {
                    let is_same = is_same_name(&bytes, one, other, &mut Steps(600));
                    // One that cannot be read is at most the same as itself, or as a part of itself.
                    if let (Some((name, _)), Some((other_name, _))) = (&expected, read(other)) {
                        proptest::prop_assert_eq!(is_same, Some(*name == other_name));
                    }
                }
            }
        }
    }
}
