//! Short messages put together from their parts.

use smallvec::SmallVec;

/// Joins parts into one message, without an allocation where it has at most `N` bytes.
pub(crate) fn joined<const N: usize>(parts: &[&[u8]]) -> SmallVec<[u8; N]> {
    let len = parts.iter().map(|part| part.len()).sum();
    let mut bytes = [0; N];
    let Some(mut room) = bytes.get_mut(..len) else { return SmallVec::from_vec(parts.concat()) };
    for part in parts {
        let Some((place, behind)) = room.split_at_mut_checked(part.len()) else { break };
        place.copy_from_slice(part);
        room = behind;
    }
    SmallVec::from_buf_and_len(bytes, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_in_place_or_on_the_heap() {
        let (long, short): (&[u8], &[u8]) = (b"abcd", b"e");
        for parts in [&[][..], &[short], &[long, &[], short], &[long, long], &[long, long, short]] {
            let bytes = joined::<8>(parts);
            assert_eq!(&*bytes, &*parts.concat());
            assert_eq!(bytes.spilled(), bytes.len() > 8);
        }
    }
}
