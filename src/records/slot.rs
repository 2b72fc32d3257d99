//! Places of a table's index, and the hashes that lead to them.

use std::hash::{BuildHasher, Hasher};

/// A slot of the index that holds nothing.
pub(super) const EMPTY: u32 = u32::MAX;

/// The hash of a name in one table.
#[derive(Debug, Clone, Copy)]
pub struct NameHash(pub(super) u64);

/// A place of the index.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    /// The half of the name's hash that its place does not tell.
    pub(super) tag: u32,
    /// Where the entry begins, or [`EMPTY`].
    pub(super) entry: u32,
}

/// Where in an index of `len` places a hash begins to look: its upper half says how far along.
#[inline]
pub(super) fn first_place(hash: u64, len: usize) -> usize {
    (((hash >> 32) * len as u64) >> 32) as usize
}

/// The half of a hash that its place does not tell.
#[inline]
pub(super) fn tag_of(hash: u64) -> u32 {
    hash as u32
}

/// The hash of a name in lower case wire form.
#[inline]
pub(super) fn hash_name(hasher: &foldhash::fast::RandomState, lower_name: &[u8]) -> u64 {
    let mut hash = hasher.build_hasher();
    hash.write(lower_name);
    hash.finish()
}
