//! Views: records that only some clients see (RFC 9499, "view").
//!
//! `clients = ["10.1.0.0/16"]` on a record keeps it for those clients. Where several views of one name and type fit a
//! client, the one with the longest matching prefix answers; records without `clients` are for everybody else.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// The number of a view; 0 is everybody's.
pub(super) type ViewId = u16;
/// The view of records that state no clients.
pub(super) const EVERYBODY: ViewId = 0;

/// All views of a table.
#[derive(Debug, Default, Clone)]
pub struct Views(Vec<Vec<IpNet>>, HashMap<Vec<IpNet>, ViewId>);

impl Views {
    /// The number of the view of these clients, a new one where there is none yet; nothing when there are 65,535
    /// already. No clients at all mean everybody.
    pub fn number(&mut self, clients: &[IpNet]) -> Option<ViewId> {
        if clients.is_empty() {
            return Some(EVERYBODY);
        }
        let mut clients: Vec<IpNet> = clients.iter().map(IpNet::trunc).collect();
        clients.sort_unstable();
        clients.dedup();
        if let Some(number) = self.1.get(&clients) {
            return Some(*number);
        }
        let number = ViewId::try_from(self.0.len() + 1).ok()?;
        self.0.push(clients.clone());
        self.1.insert(clients, number);
        Some(number)
    }

    /// How closely a view fits a client: 0 for everybody's, else 1 plus the length of the longest prefix that holds the
    /// client; nothing when none does.
    // On every query's way: a release inlines less than the compiler would by itself (deploy/release.sh).
    #[inline(always)]
    pub fn fit(&self, view: ViewId, client: IpAddr) -> Option<u16> {
        let Some(index) = (view as usize).checked_sub(1) else {
            return Some(0);
        };
        let prefixes = self.0.get(index)?;
        prefixes.iter().filter(|prefix| prefix.contains(&client)).map(|prefix| u16::from(prefix.prefix_len()) + 1).max()
    }

    /// The clients of a view, sorted; empty for everybody's.
    pub fn clients(&self, view: ViewId) -> &[IpNet] {
        let index = (view as usize).checked_sub(1);
        index.and_then(|index| self.0.get(index)).map_or(&[], Vec::as_slice)
    }

    /// All networks that have a view.
    pub fn all_networks(&self) -> impl Iterator<Item = IpNet> {
        self.0.iter().flatten().copied()
    }

    /// How many views there are besides everybody's.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether everybody sees everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_fits_best() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let mut views = Views::default();
        let wide = views.number(&[net("10.0.0.0/8")]).unwrap();
        let narrow = views.number(&[net("10.1.0.0/16"), net("fd00::/8")]).unwrap();
        assert_eq!(
            views.number(&[net("fd00::/8"), net("10.1.2.3/16")]),
            Some(narrow),
            "the same clients, said otherwise"
        );
        let client = "10.1.2.3".parse().unwrap();
        assert_eq!(views.fit(EVERYBODY, client), Some(0));
        assert!(views.fit(narrow, client) > views.fit(wide, client));
        assert_eq!(views.fit(narrow, "10.2.0.1".parse().unwrap()), None);
        assert_eq!(views.fit(narrow, "fd00::1".parse().unwrap()), Some(9));
    }
}
