//! The letter case of a question: drawn at random for a query, so that who forges its answer has to guess more than its ID
//! and port, and given back to the answer as the client wrote it. Eight bytes at a time: every forwarded query comes through
//! here, and so does its answer.

use smallvec::SmallVec;

use crate::wire::header::HEADER_LEN;

/// 1 in each byte.
const EACH: u64 = 0x0101_0101_0101_0101;

/// Whether the name of a question section has letters.
pub(super) fn has_letters(section: &[u8]) -> bool {
    name_of(section).iter().any(u8::is_ascii_alphabetic)
}

/// The question section with the case of its name's letters as the bits of `draw` say, one for each byte and again from the
/// first after 64; nothing where it has no letters.
pub(super) fn with_case(section: &[u8], draw: u64) -> Option<SmallVec<[u8; 64]>> {
    let mut drawn = SmallVec::<[u8; 64]>::from_slice(section);
    let (name, _) = drawn.split_last_chunk_mut::<4>()?;
    let (mut bits, mut has_letters) = (draw, false);
    let mut change = |word: &mut [u8; 8]| {
        let bytes = u64::from_le_bytes(*word);
        let letters = letters(bytes);
        has_letters |= letters != 0;
        // The top bit of a byte says so; the difference of a letter's cases is two bits below.
        *word = (bytes ^ (letters & spread(bits)) >> 2).to_le_bytes();
        bits = bits.rotate_right(8);
    };
    let (words, rest) = name.as_chunks_mut::<8>();
    words.iter_mut().for_each(&mut change);
    let mut last = [0; 8];
    last.get_mut(..rest.len())?.copy_from_slice(rest);
    change(&mut last);
    rest.copy_from_slice(last.get(..rest.len())?);
    has_letters.then_some(drawn)
}

/// Whether `section` is what [`with_case`] makes of `asked`, or `asked` itself where no case was drawn.
pub(super) fn has_case(section: &[u8], asked: &[u8], draw: Option<u64>) -> bool {
    let Some(draw) = draw else { return section == asked };
    if section.len() != asked.len() || section.last_chunk::<4>() != asked.last_chunk() {
        return false;
    }
    let ((words, rest), (asked, asked_rest)) = (name_of(section).as_chunks::<8>(), name_of(asked).as_chunks::<8>());
    let mut bits = draw;
    let mut is_drawn = |word: u64, asked: u64| {
        let drawn = asked ^ (letters(asked) & spread(bits)) >> 2;
        bits = bits.rotate_right(8);
        word == drawn
    };
    let mut pairs = words.iter().zip(asked);
    pairs.all(|(word, asked)| is_drawn(u64::from_le_bytes(*word), u64::from_le_bytes(*asked)))
        && is_drawn(last_word(rest), last_word(asked_rest))
}

/// Gives an answer the letter case of the client's question: in the question section, and wherever the same name is repeated in
/// full in the same case.
pub(super) fn restore_case(message: &mut [u8], asked: &[u8]) {
    let asked = name_of(asked);
    let Some((question, rest)) = message.get_mut(HEADER_LEN..).and_then(|rest| rest.split_at_mut_checked(asked.len()))
    else {
        return;
    };
    // Over TCP, where answers cannot be guessed, the upstream may have changed the case of the question.
    if question == asked || !question.eq_ignore_ascii_case(asked) {
        return;
    }
    let Some(&first) = question.first() else { return };
    let mut at = 0;
    // Where the whole name has room.
    let end = (rest.len() + 1).saturating_sub(asked.len());
    while let Some(next) = rest.get(at..end).and_then(|starts| starts.iter().position(|&byte| byte == first)) {
        at += next;
        let Some(place) = rest.get_mut(at..at + asked.len()) else { break };
        if place == question {
            place.copy_from_slice(asked);
            at += asked.len();
        } else {
            at += 1;
        }
    }
    question.copy_from_slice(asked);
}

/// A question section in lower case.
pub(super) fn in_lower_case(section: &[u8]) -> SmallVec<[u8; 64]> {
    let mut lower = SmallVec::<[u8; 64]>::from_slice(section);
    let (words, rest) = lower.as_chunks_mut::<8>();
    for word in words {
        let bytes = u64::from_le_bytes(*word);
        *word = (bytes | letters(bytes) >> 2).to_le_bytes();
    }
    rest.make_ascii_lowercase();
    lower
}

/// The name of a question section, without type and class.
fn name_of(section: &[u8]) -> &[u8] {
    section.split_last_chunk::<4>().map_or(&[], |(name, _)| name)
}

/// Less than eight bytes, filled with zeros.
fn last_word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// Which of eight bytes are letters, by the top bit of each. The length of a label is at most 63, and no letter.
fn letters(bytes: u64) -> u64 {
    let lower = (bytes | (EACH * 0x20)) & (EACH * 0x7f);
    let from_a = lower + EACH * (0x80 - b'a' as u64);
    let after_z = lower + EACH * (0x7f - b'z' as u64);
    from_a & !after_z & !bytes & (EACH * 0x80)
}

/// The lowest eight bits, each as the top bit of a byte.
fn spread(bits: u64) -> u64 {
    let each_at_its_place = ((bits & 0xff) * EACH) & 0x8040_2010_0804_0201;
    (each_at_its_place + EACH * 0x7f) & (EACH * 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_drawn_and_restored() {
        let asked = b"\x03WwW\x04e-1x\x00\x00\x01\x00\x01";
        let sent = with_case(asked, 0b10_1010_1010).unwrap();
        assert_eq!(&*sent, b"\x03www\x04E-1x\x00\x00\x01\x00\x01".as_slice());
        assert_eq!(with_case(b"\x021-\x00\x00\x01\x00\x01", u64::MAX), None);
        assert_eq!(with_case(b"\x00\x00\x02\x00\x01", u64::MAX), None);
        let message = |question: &[u8]| {
            let mut bytes = vec![7; 12];
            bytes.extend_from_slice(question);
            bytes.extend_from_slice(question.get(..question.len() - 4).unwrap());
            bytes.extend_from_slice(b"\xc0\x0cwwW\x03");
            bytes
        };
        let mut received = message(&sent);
        restore_case(&mut received, asked);
        assert_eq!(received, message(asked));
        for untouched in [vec![7; 14], message(b"\x03abc\x04e-1x\x00\x00\x01\x00\x01")] {
            let mut bytes = untouched.clone();
            restore_case(&mut bytes, asked);
            assert_eq!(bytes, untouched);
        }
    }

    proptest::proptest! {
        #[test]
        fn each_letter_follows_its_bit_and_nothing_else_changes(
            name in proptest::collection::vec(proptest::num::u8::ANY, 0..150),
            draw in proptest::num::u64::ANY,
            other in 0..154_usize,
        ) {
            let section = [&*name, b"\x00AzA"].concat();
            let is_flipped = |at: usize, byte: u8| byte.is_ascii_alphabetic() && draw >> (at % 64) & 1 == 1;
            let flipped = name.iter().enumerate().map(|(at, &byte)| byte ^ u8::from(is_flipped(at, byte)) << 5);
            let expected: Vec<u8> = flipped.chain(*b"\x00AzA").collect();
            let has_letters = name.iter().any(u8::is_ascii_alphabetic);
            let drawn = with_case(&section, draw);
            proptest::prop_assert_eq!(drawn.as_deref(), has_letters.then_some(&*expected));
            proptest::prop_assert!(has_case(&expected, &section, Some(draw)) && has_case(&section, &section, None));
            let mut changed = expected.clone();
            if let Some(byte) = changed.get_mut(other) {
                *byte ^= 0x20;
                proptest::prop_assert!(!has_case(&changed, &section, Some(draw)), "another case, or another name");
            }
            proptest::prop_assert!(!has_case(expected.get(1..).unwrap(), &section, Some(draw)));
            proptest::prop_assert_eq!(in_lower_case(&section).to_vec(), section.to_ascii_lowercase());
        }
    }
}
