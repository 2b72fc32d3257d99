//! What a reload changes in the records table, and whether that may be.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use crate::document::{Diagnostic, Severity};
use crate::records::Table;

/// The difference between two tables, in records: one whose TTL, data or clients change is one less and one more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Records that the new table has and the old one lacks.
    pub added: usize,
    /// Records that the old table has and the new one lacks.
    pub removed: usize,
    /// Those of the removed ones in whose place there is none of the same name, type and clients.
    pub gone: usize,
}

impl Changes {
    /// Compares two tables.
    pub fn between(old: &Table, new: &Table) -> Self {
        let hasher = foldhash::quality::FixedState::default();
        let mut left: HashMap<u64, u32, _> = HashMap::with_hasher(hasher.clone());
        each_record(old, &hasher, |_, record| *left.entry(record).or_default() += 1);
        let mut added = 0;
        let mut sets = HashSet::with_hasher(hasher.clone());
        each_record(new, &hasher, |set, record| {
            sets.insert(set);
            match left.entry(record) {
                Entry::Occupied(mut count) if *count.get() > 1 => *count.get_mut() -= 1,
                Entry::Occupied(count) => drop(count.remove()),
                Entry::Vacant(_) => added += 1,
            }
        });
        let mut gone = 0;
        each_record(old, &hasher, |set, _| gone += usize::from(!sets.contains(&set)));
        Self { added, removed: left.into_values().map(|count| count as usize).sum(), gone }
    }

    /// What is to be said of the change, where there were `before` records and are `after` now; `settings_file` is the
    /// place of it. A table that becomes empty is an error unless that is allowed: without records every private name
    /// comes out public, and a share that is not mounted looks the same as a table that was emptied on purpose.
    pub fn problem(
        self,
        before: usize,
        after: usize,
        allow_empty: bool,
        settings_file: impl Into<String>,
    ) -> Option<Diagnostic> {
        if before > 0 && after == 0 && !allow_empty {
            return Some(Diagnostic::of_file(
                Severity::Error,
                settings_file,
                format!("this would remove all {before} records that are served"),
                "[records] allow_empty = true, if the table is to be empty",
            ));
        }
        (self.gone * 2 > before).then(|| {
            Diagnostic::of_file(
                Severity::Warning,
                settings_file,
                format!(
                    "this removes {} of the {before} records that were served (+{} −{})",
                    self.removed, self.added, self.removed
                ),
                "is a file missing that the settings should name?",
            )
        })
    }
}

/// Gives the hash of every record, and of the set that it is in, to `take`: first the set's.
fn each_record(table: &Table, hasher: &impl BuildHasher, mut take: impl FnMut(u64, u64)) {
    for (owner, set) in table.iter() {
        let set_hash = hasher.hash_one((owner, set.rtype.0, table.views().clients(set.view)));
        for record in set.iter() {
            take(set_hash, hasher.hash_one((set_hash, record)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Problems, SourceText};
    use crate::records::{TableSettings, compile, read_records};

    fn table(records: &[(&str, &str, &str)]) -> Table {
        let text: String = records
            .iter()
            .map(|(name, data, more)| {
                format!("[[record]]\nname = \"{name}\"\ntype = \"A\"\ndata = \"{data}\"\n{more}\n")
            })
            .collect();
        let (source, mut problems) = (SourceText::new("a.toml", text), Problems::default());
        let packs = read_records(&source, 0, &mut problems);
        let table = compile(&packs, &[], TableSettings { ttl: 10 }, vec![source], &mut problems);
        assert!(!problems.has_errors(), "{problems}");
        table
    }

    fn between(old: &[(&str, &str, &str)], new: &[(&str, &str, &str)]) -> (usize, usize, usize) {
        let Changes { added, removed, gone } = Changes::between(&table(old), &table(new));
        (added, removed, gone)
    }

    #[test]
    fn records_are_compared_by_all_that_they_hold() {
        let view = "clients = \"10.1.0.0/16\"";
        let a = ("a.example", "10.0.0.1", "");
        let b = ("b.example", "10.0.0.2", "");
        assert_eq!(between(&[a, b], &[b, a]), (0, 0, 0));
        assert_eq!(between(&[a], &[a, b]), (1, 0, 0));
        assert_eq!(between(&[a, b], &[]), (0, 2, 2));
        assert_eq!(between(&[a], &[("a.example", "10.0.0.9", "")]), (1, 1, 0));
        assert_eq!(between(&[a], &[("a.example", "10.0.0.1", "ttl = \"99s\"")]), (1, 1, 0));
        // The views of two tables have numbers of their own.
        let other = ("c.example", "10.0.0.3", "clients = \"10.9.0.0/16\"");
        let seen = ("a.example", "10.0.0.1", view);
        assert_eq!(between(&[seen], &[other, seen]), (1, 0, 0));
        assert_eq!(between(&[a], &[seen]), (1, 1, 1));
    }

    #[test]
    fn a_table_that_becomes_empty_is_an_error_and_one_that_loses_half_a_warning() {
        let problem = |added, gone, before: usize, allow_empty| {
            let after = before + added - gone;
            let problem = Changes { added, removed: gone, gone }.problem(before, after, allow_empty, "pldns.toml");
            problem.map(|problem| (problem.severity, problem.to_string()))
        };
        let (severity, text) = problem(0, 120, 120, false).unwrap();
        assert_eq!(severity, Severity::Error);
        assert!(text.contains("all 120 records") && text.contains("allow_empty = true"), "{text}");
        let (severity, text) = problem(3, 61, 120, false).unwrap();
        assert_eq!(severity, Severity::Warning);
        assert!(text.contains("61 of the 120 records") && text.contains("+3 −61"), "{text}");
        assert_eq!(problem(0, 120, 120, true).unwrap().0, Severity::Warning);
        assert_eq!(problem(0, 60, 120, false), None);
        assert_eq!(problem(5, 0, 0, false), None);
        assert_eq!(problem(0, 0, 0, false), None);
    }
}
