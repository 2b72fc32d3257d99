//! A private DNS zone of the documentation's table, and the names below it.

use super::suffix::{Found, PORTALS};
use super::{Cloud, HostName, is_privatelink_label};

/// A public zone of the documentation that holds far more than the one service behind it: it is never matched by.
pub(super) const TOO_WIDE: &str = "azure.com";
pub(super) const KEY_VAULT: &str = "Microsoft.KeyVault/vaults";
/// Its group ids are names that users choose.
pub(super) const ELASTIC_SAN: &str = "Microsoft.ElasticSan/elasticSans";
/// What the alias of such a name leads to, below its private zone.
pub(super) const PORTAL_LABEL: &str = "portal";

/// One row of the table of private DNS zones.
#[derive(Debug)]
pub struct PrivateDnsZone {
    /// The cloud that the row belongs to.
    pub cloud: Cloud,
    /// The type of the resource behind the endpoint, as in `Microsoft.Storage/storageAccounts`.
    pub resource_type: &'static str,
    /// The endpoint's group id, as in `blob`.
    pub group: &'static str,
    /// The private DNS zone, perhaps with placeholders, as in `privatelink.{regionName}.azmk8s.io`.
    pub zone: &'static str,
    /// The public suffixes that clients ask for, with the same placeholders.
    pub public: &'static [&'static str],
}

/// What an endpoint leads to, as far as it is known: narrows the table's rows where one suffix serves several.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    /// The type of the resource, in any case of letters.
    pub resource_type: &'a str,
    /// The group ids of the connection, in any case of letters.
    pub groups: &'a [String],
}

impl PrivateDnsZone {
    /// The public suffixes that names are matched by.
    pub(super) fn matched(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.public.iter().copied().filter(|suffix| *suffix != TOO_WIDE)
    }

    pub(super) fn serves(&self, service: Option<Service<'_>>) -> bool {
        service.is_some_and(|service| {
            self.resource_type.eq_ignore_ascii_case(service.resource_type)
                && (self.resource_type == ELASTIC_SAN
                    || service.groups.iter().any(|group| group.eq_ignore_ascii_case(self.group)))
        })
    }

    /// The private name of the public one that was found under `suffix`.
    pub(super) fn private_name(&self, suffix: &str, hit: &Found<'_>) -> Option<HostName> {
        let zone: Vec<&str> = self.zone.split('.').collect();
        let base: Vec<&str> = zone.iter().copied().filter(|label| !is_privatelink_label(label)).collect();
        let suffix: Vec<&str> = suffix.split('.').collect();
        let kept = match suffix.len().checked_sub(base.len()) {
            Some(kept) if suffix[kept..] == base[..] => kept,
            _ if matches!(self.resource_type, KEY_VAULT | ELASTIC_SAN) => 0,
            _ => return None,
        };
        let kept = suffix[..kept].iter().map(|label| hit.bound(&suffix, label)).collect::<Option<Vec<_>>>()?;
        let zone = zone.iter().map(|label| hit.bound(&suffix, label)).collect::<Option<Vec<_>>>()?;
        // A portal's name is the public zone itself; its alias leads to a name below the private one.
        let portal = (hit.front.is_empty() && PORTALS.contains(&suffix.join(".").as_str())).then_some(PORTAL_LABEL);
        HostName::from_labels(hit.front.iter().copied().chain(portal).chain(kept).chain(zone))
    }
}
