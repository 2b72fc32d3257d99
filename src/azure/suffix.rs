//! Matching names against the suffixes of the zone table, placeholders included.

use super::{HostName, is_privatelink_label};

/// Public names of Data Factory's portal, one in each cloud: the apex of their zone.
pub(super) const PORTALS: [&str; 3] = ["adf.azure.com", "adf.azure.us", "adf.azure.cn"];

/// A suffix of the table, perhaps with placeholders.
#[derive(Clone, Copy)]
pub(super) struct Suffix<'a>(&'a str);

impl<'s> Suffix<'s> {
    /// Takes a suffix as the table writes it.
    pub(super) fn new(text: &'s str) -> Self {
        Self(text)
    }

    /// How a name lies under it; nothing when it does not, or when no resource can have the name.
    pub(super) fn find<'n>(self, name: &'n HostName) -> Option<Found<'n>> {
        // From the last label on: nearly every suffix ends here, before anything is allocated.
        let mut labels = name.labels();
        let mut matched = Vec::new();
        let mut score = Score { labels: 0, literal: 0 };
        for want in self.0.rsplit('.') {
            let label = labels.next_back()?;
            if !Suffix::fits(label, want) {
                return None;
            }
            score.labels += 1;
            score.literal += usize::from(!want.starts_with('{'));
            matched.push(label);
        }
        let front: Vec<&str> = labels.collect();
        if !self.is_owned(&front) {
            return None;
        }
        matched.reverse();
        Some(Found { front, matched, score })
    }

    /// Whether a label is what a label of the table stands for.
    pub(super) fn fits(label: &str, want: &str) -> bool {
        match want.split_once('}') {
            Some(("{partitionId", "")) => label.bytes().all(|byte| byte.is_ascii_digit()),
            // A placeholder for a part of the label, or for all of it.
            Some((_, end)) => !label.contains('*') && !is_privatelink_label(label) && label.ends_with(end),
            None => label == want,
        }
    }

    /// Whether the labels in front of the suffix make a name that one owner has: a wildcard right under it would take
    /// the names of everybody's resources.
    fn is_owned(self, front: &[&str]) -> bool {
        let mut own = front.iter().filter(|label| !is_privatelink_label(label));
        match own.next() {
            None => front.is_empty() && (self.0 == RESOURCE_MANAGER || PORTALS.contains(&self.0)),
            Some(&"*") => own.next().is_some(),
            Some(_) => true,
        }
    }
}

/// How a name lies under a suffix.
pub(super) struct Found<'n> {
    /// The labels in front.
    pub(super) front: Vec<&'n str>,
    /// The name's labels in the places of the suffix's.
    pub(super) matched: Vec<&'n str>,
    pub(super) score: Score,
}

impl<'n> Found<'n> {
    /// What a label of the zone stands for in this name; nothing for a placeholder that the suffix does not have.
    pub(super) fn bound<'a>(&self, suffix: &[&str], label: &'a str) -> Option<&'a str>
    where
        'n: 'a,
    {
        if !label.starts_with('{') {
            return Some(label);
        }
        suffix.iter().zip(&self.matched).find_map(|(want, got)| (*want == label).then_some(*got))
    }
}

/// Which suffix is the closer one: more labels, then more of them written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    labels: usize,
    literal: usize,
}

/// A public suffix that is a host itself, as those of the portals are.
const RESOURCE_MANAGER: &str = "management.azure.com";
