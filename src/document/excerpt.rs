//! Pieces of a text, read as one document.

use std::ops::Range;

/// Pieces of a text one behind the other, with their places in the whole.
pub struct Excerpt {
    text: String,
    /// Where each piece begins: in the excerpt, and in the whole.
    pieces: Vec<(usize, usize)>,
}

impl Excerpt {
    /// The pieces of `whole` at `ranges`, which are in order and do not overlap.
    pub fn new(whole: &str, ranges: &[Range<usize>]) -> Self {
        let mut excerpt = Self { text: String::new(), pieces: Vec::with_capacity(ranges.len()) };
        for range in ranges {
            excerpt.pieces.push((excerpt.text.len(), range.start));
            excerpt.text.push_str(whole.get(range.clone()).unwrap_or_default());
        }
        excerpt
    }

    /// The pieces as one text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where in the whole the octet `at` stands; the end of the excerpt is the end of its last piece.
    pub fn in_file(&self, at: usize) -> usize {
        let piece = self.pieces.partition_point(|&(start, _)| start <= at);
        let piece = piece.checked_sub(1).and_then(|last| self.pieces.get(last));
        piece.map_or(at, |&(start, in_whole)| in_whole + (at - start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_keeps_its_place() {
        let whole = "0123456789";
        let excerpt = Excerpt::new(whole, &[1..3, 5..6, 8..10]);
        assert_eq!(excerpt.text(), "12589");
        let places: Vec<usize> = (0..=5).map(|at| excerpt.in_file(at)).collect();
        assert_eq!(places, [1, 2, 5, 8, 9, 10]);
    }
}
