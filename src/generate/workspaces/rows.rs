//! Whose a row is, when one list holds the rows of several workspaces.
//!
//! Names of a workspace have its id in them, all but one: the region's wildcard for online endpoints. So a list like
//!
//! ```text
//! {id 1}.workspace.westeurope.api...     10.41.2.4
//! *.westeurope.inference...              10.41.2.6
//! {id 2}.workspace.westeurope.api...     10.41.3.4
//! *.westeurope.inference...              10.41.3.6
//! ```
//!
//! says whose each wildcard is by what the rows say of their owner, where they do, else by position alone: the rows of one
//! interface follow each other. A wildcard belongs to the workspace whose rows surround, precede or follow it;
//! the order is kept, and none gets two. Where that leaves more than one way, nothing is assigned.

use std::collections::BTreeSet;

/// What a row is, as far as one region goes.
#[derive(Debug)]
pub(super) struct RowKind<I> {
    /// Its position in the list.
    pub(super) position: usize,
    /// The workspaces whose names it has.
    pub(super) ids: BTreeSet<I>,
    /// Whether it has the region's wildcard.
    pub(super) is_wildcard: bool,
    /// What it says of the object that it belongs to.
    pub(super) owner: Option<String>,
}

/// For each wildcard of the list, in its order, the workspace that it belongs to; `None` where that cannot be told.
pub(super) fn assign<I: Ord + Clone>(rows: &[RowKind<I>]) -> Option<Vec<I>> {
    let wildcards: Vec<&RowKind<I>> = rows.iter().filter(|row| row.is_wildcard).collect();
    let all: BTreeSet<&I> = rows.iter().flat_map(|row| &row.ids).collect();
    if let [only] = all.iter().copied().collect::<Vec<_>>()[..] {
        return Some(vec![only.clone(); wildcards.len()]);
    }
    by_owner(rows, &wildcards).or_else(|| by_position(rows, &wildcards))
}

/// By what the rows say of their owner, where that leads to one workspace for each wildcard.
fn by_owner<I: Ord + Clone>(rows: &[RowKind<I>], wildcards: &[&RowKind<I>]) -> Option<Vec<I>> {
    wildcards
        .iter()
        .map(|wildcard| {
            let owner = wildcard.owner.as_ref()?;
            let mine = rows.iter().filter(|row| row.owner.as_ref() == Some(owner));
            let ids: BTreeSet<&I> = mine.flat_map(|row| &row.ids).collect();
            let mut ids = ids.into_iter();
            let id = ids.next()?;
            ids.next().is_none().then(|| id.clone())
        })
        .collect()
}

fn by_position<I: Ord + Clone>(rows: &[RowKind<I>], wildcards: &[&RowKind<I>]) -> Option<Vec<I>> {
    let blocks = blocks(rows)?;
    // Ways to assign the wildcards so far, by the last block used: how many, at most two, and one of them.
    let mut ways: Vec<(Option<usize>, usize, Vec<usize>)> = vec![(None, 1, Vec::new())];
    for wildcard in wildcards {
        let may_have = |at: &usize| {
            let Some((_, start, end)) = blocks.get(*at) else { return false };
            let before = at.checked_sub(1).and_then(|at| blocks.get(at)).map(|(.., end)| *end);
            let after = blocks.get(at + 1).map(|(_, start, _)| *start);
            let position = wildcard.position;
            (*start..=*end).contains(&position)
                || position < *start && before.is_none_or(|end| end < position)
                || position > *end && after.is_none_or(|start| position < start)
        };
        let mut next: Vec<(Option<usize>, usize, Vec<usize>)> = Vec::new();
        for block in (0..blocks.len()).filter(may_have) {
            for (_, count, chosen) in ways.iter().filter(|(last, ..)| last.is_none_or(|last| last < block)) {
                match next.iter_mut().find(|(at, ..)| *at == Some(block)) {
                    Some((_, known, _)) => *known = (*known + count).min(2),
                    None => next.push((Some(block), *count, chosen.iter().copied().chain([block]).collect())),
                }
            }
        }
        ways = next;
    }
    let [(_, 1, chosen)] = ways.as_slice() else {
        return None;
    };
    chosen.iter().map(|block| blocks.get(*block).map(|(id, ..)| (*id).clone())).collect()
}

/// The workspaces in the order of their rows, each with its first and last position; `None` when their rows mix.
fn blocks<I: Ord>(rows: &[RowKind<I>]) -> Option<Vec<(&I, usize, usize)>> {
    let mut blocks: Vec<(&I, usize, usize)> = Vec::new();
    for row in rows {
        if row.ids.len() > 1 {
            return None;
        }
        let Some(id) = row.ids.first() else { continue };
        if let Some((_, _, end)) = blocks.last_mut().filter(|(last, ..)| *last == id) {
            *end = row.position;
        } else if blocks.iter().any(|(known, ..)| *known == id) {
            return None;
        } else {
            blocks.push((id, row.position, row.position));
        }
    }
    Some(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows as a text: letters are workspaces, `*` the wildcard; what the wildcards are assigned to.
    fn assigned(text: &str) -> Option<String> {
        let row = |(position, letter): (usize, char)| RowKind {
            position,
            ids: Some(letter).filter(|letter| *letter != '*').into_iter().collect(),
            is_wildcard: letter == '*',
            owner: None,
        };
        let rows: Vec<_> = text.chars().enumerate().map(row).collect();
        assign(&rows).map(|ids| ids.into_iter().collect())
    }

    #[test]
    fn wildcards_belong_to_the_rows_around_them() {
        for (rows, expected) in [
            ("AA*BB*", "AB"),
            ("*AA*BB", "AB"),
            ("A*AB*B", "AB"),
            ("AA**BB", "AB"),
            ("AA*", "A"),
            ("*", ""),
            ("AABB*", "B"),
            ("*AABB", "A"),
            ("A*B*C*", "ABC"),
            ("AB*C*", "BC"),
            ("AAA**", "AA"),
        ] {
            let expected = (rows != "*").then(|| expected.to_owned());
            assert_eq!(assigned(rows).filter(|ids| !ids.is_empty()), expected, "{rows}");
        }
    }

    #[test]
    fn what_position_leaves_open_is_not_assigned() {
        for rows in ["AA*BB", "ABAB**", "A*BC", "ABA*", "AABB**", "**AABB"] {
            assert_eq!(assigned(rows), None, "{rows}");
        }
    }

    #[test]
    fn what_the_rows_say_of_their_owner_goes_first() {
        let row = |position: usize, id: Option<char>, owner: &str| RowKind {
            position,
            ids: id.into_iter().collect(),
            is_wildcard: id.is_none(),
            owner: Some(owner.to_owned()),
        };
        let rows = [row(0, Some('A'), "x"), row(1, Some('B'), "y"), row(2, None, "x"), row(3, None, "y")];
        assert_eq!(assign(&rows), Some(vec!['A', 'B']));
    }
}
