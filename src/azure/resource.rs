//! Resource ids: `/subscriptions/{s}/resourceGroups/{g}/providers/{namespace}/{type}/{name}[/{type}/{name}]...`.
//!
//! Azure compares them without regard to case and prints the same one in several spellings, so they are compared in
//! lower case and printed as found.

/// A resource id, as found.
#[derive(Debug, Clone)]
pub struct ResourceId(String);

impl ResourceId {
    /// Takes a text that begins as a resource id does; nothing for an alias (`{service}.{guid}.{region}...`) or "".
    pub fn parse(text: &str) -> Option<Self> {
        text.starts_with('/').then(|| Self(text.to_owned()))
    }

    /// The id as found.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What to compare by.
    pub fn key(&self) -> String {
        self.0.trim_end_matches('/').to_ascii_lowercase()
    }

    /// The resource's type in lower case, as in `microsoft.storage/storageaccounts`; "" when there is none.
    pub fn resource_type(&self) -> String {
        let Some((namespace, rest)) = self.provider_path() else {
            return String::new();
        };
        let kinds = rest.iter().step_by(2).map(String::as_str);
        std::iter::once(namespace.as_str()).chain(kinds).collect::<Vec<_>>().join("/")
    }

    /// The resource's name, as found.
    pub fn name(&self) -> &str {
        self.0.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
    }

    /// The resource group, as found.
    pub fn resource_group(&self) -> Option<&str> {
        let mut parts = self.0.split('/');
        parts.find(|part| part.eq_ignore_ascii_case("resourcegroups"))?;
        parts.next()
    }

    /// The resource that this one is a child of; nothing for one of the first level.
    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.provider_path()?;
        if rest.len() < 4 {
            return None;
        }
        let mut parts: Vec<&str> = self.0.trim_end_matches('/').rsplitn(3, '/').collect();
        parts.pop().map(|parent| Self(parent.to_owned()))
    }

    /// The namespace and what stands behind it (types and names by turns), in lower case.
    fn provider_path(&self) -> Option<(String, Vec<String>)> {
        let key = self.key();
        let (_, behind) = key.rsplit_once("/providers/")?;
        let mut parts = behind.split('/').map(str::to_owned);
        let namespace = parts.next()?;
        Some((namespace, parts.collect()))
    }
}

impl PartialEq for ResourceId {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for ResourceId {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_an_id() {
        let id = ResourceId::parse("/subscriptions/s/resourcegroups/g/providers/Microsoft.Network/privateEndpoints/Pe/privateDnsZoneGroups/default").unwrap();
        assert_eq!(id.resource_type(), "microsoft.network/privateendpoints/privatednszonegroups");
        assert_eq!(id.name(), "default");
        assert_eq!(id.resource_group(), Some("g"));
        let parent = id.parent().unwrap();
        assert_eq!(parent.name(), "Pe");
        assert_eq!(
            parent,
            ResourceId::parse("/SUBSCRIPTIONS/s/resourceGroups/g/providers/microsoft.network/privateendpoints/pe")
                .unwrap()
        );
        assert_eq!(parent.parent(), None);
    }

    #[test]
    fn what_is_no_id() {
        for text in ["", "service.guid.eastus.azure.privatelinkservice"] {
            assert!(ResourceId::parse(text).is_none(), "{text}");
        }
        for text in ["/", "//", "/providers/", "/a/providers/x"] {
            let id = ResourceId::parse(text).unwrap();
            let _ = (id.resource_type(), id.name(), id.parent());
        }
    }
}
