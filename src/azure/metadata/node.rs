//! A JSON value with its path: members found whatever the case of their letters and the style of their names, lifted
//! or below `properties`.

use serde_json::Value;

/// A value and its path in the document.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    value: &'a Value,
    path: String,
}

/// A value taken out of a document, with its path there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its JSON path, as in `$.ipConfigurations[0].privateIPAddress`; not yet safe to print.
    pub path: String,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self { value, path: "$".to_owned() }
    }

    /// The path of this value.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn is_array(&self) -> bool {
        self.value.is_array()
    }

    pub(super) fn is_object(&self) -> bool {
        self.value.is_object()
    }

    /// The member of this name; `null` counts as absent. Names are compared as [`same_key`] does.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        let members = self.value.as_object()?;
        let found = members.get_key_value(key).or_else(|| members.iter().find(|(name, _)| same_key(name, key)));
        let (name, value) = found.filter(|(_, value)| !value.is_null())?;
        Some(Self { value, path: format!("{}.{name}", self.path) })
    }

    /// Whether the member exists, be it `null`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.value.as_object().is_some_and(|members| members.keys().any(|name| same_key(name, key)))
    }

    /// All members with their names.
    pub(super) fn members(&self) -> Vec<(&'a str, Self)> {
        let members = self.value.as_object().into_iter().flatten();
        members.map(|(name, value)| (name.as_str(), Self { value, path: format!("{}.{name}", self.path) })).collect()
    }

    /// The member below `properties` (REST), else in the object itself (the command line lifts them).
    pub(super) fn lifted(&self, key: &str) -> Option<Self> {
        self.get("properties").and_then(|properties| properties.get(key)).or_else(|| self.get(key))
    }

    /// The elements of an array; none for any other value.
    ///
    /// PowerShell prints an array of one element as the element, and some arrays as `{"value": [...], "Count": n}`.
    pub(super) fn items(&self) -> Vec<Self> {
        if let Some(items) = self.value.as_array() {
            let one = |(at, value)| Self { value, path: format!("{}[{at}]", self.path) };
            return items.iter().enumerate().map(one).collect();
        }
        Vec::new()
    }

    /// The elements of the array that this member is; an object in its place is an array of one.
    pub(super) fn list(&self, key: &str) -> Vec<Self> {
        let Some(list) = self.lifted(key) else {
            return Vec::new();
        };
        if let Some(inner) = list.get("value").filter(|inner| inner.is_array() && list.has("Count")) {
            return inner.items();
        }
        if list.is_object() { vec![list] } else { list.items() }
    }

    /// The string, unless it is empty: Azure writes `""` for absent as well.
    pub(super) fn text(&self) -> Option<&'a str> {
        self.value.as_str().filter(|text| !text.is_empty())
    }

    /// The string of a member.
    pub(super) fn text_of(&self, key: &str) -> Option<&'a str> {
        self.lifted(key).and_then(|node| node.text())
    }

    /// The string of a member, with its path.
    pub(super) fn located(&self, key: &str) -> Option<Located<String>> {
        self.lifted(key).and_then(|node| node.to_located())
    }

    /// This string, with its path.
    pub(super) fn to_located(&self) -> Option<Located<String>> {
        Some(Located { value: self.text()?.to_owned(), path: self.path.clone() })
    }

    /// The strings of an array, or the one string in its place.
    pub(super) fn texts(&self, key: &str) -> Vec<Located<String>> {
        self.lifted(key).map(|node| node.all_texts()).unwrap_or_default()
    }

    /// The strings of this array, or this string.
    pub(super) fn all_texts(&self) -> Vec<Located<String>> {
        if let Some(inner) = self.get("value").filter(|inner| inner.is_array() && self.has("Count")) {
            return inner.all_texts();
        }
        if self.is_array() {
            self.items().iter().filter_map(Self::to_located).collect()
        } else {
            self.to_located().into_iter().collect()
        }
    }

    /// A number of seconds, as a number or written as a string.
    pub(super) fn seconds(&self, key: &str) -> Option<u32> {
        let node = self.lifted(key)?;
        node.value.as_u64().and_then(|seconds| u32::try_from(seconds).ok()).or_else(|| node.text()?.parse().ok())
    }

    /// A whole number.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.get(key).and_then(|node| node.value.as_u64())
    }

    pub(super) fn value(&self) -> &'a Value {
        self.value
    }
}

/// Whether two names of members are the same one: `privateIPAddress` (REST), `private_ip_address` (Terraform, Ansible,
/// the SDKs), `PrivateIpAddress` (PowerShell), `Private IP address` (the portal's CSV).
pub(super) fn same_key(one: &str, other: &str) -> bool {
    fn plain(key: &str) -> impl Iterator<Item = u8> + '_ {
        key.bytes().filter(|byte| !matches!(byte, b'_' | b'-' | b' ')).map(|byte| byte.to_ascii_lowercase())
    }
    plain(one).eq(plain(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_in_any_style_and_nesting() {
        let value = serde_json::json!({"Properties": {"privateIpAddress": "10.0.0.4"}, "name": "x", "empty": "", "gone": null,
            "custom_dns_configs": [], "one": {"a": 1}, "two": {"value": [{"a": 1}, {"a": 2}], "Count": 2}});
        let node = Node::root(&value);
        let address = node.lifted("privateIPAddress").unwrap();
        assert_eq!((address.text(), address.path()), (Some("10.0.0.4"), "$.Properties.privateIpAddress"));
        assert_eq!(node.text_of("NAME"), Some("x"));
        assert_eq!(node.text_of("empty"), None);
        assert!(node.get("gone").is_none() && node.has("Gone") && node.has("customDnsConfigs"));
        assert_eq!((node.list("one").len(), node.list("two").len()), (1, 2));
    }
}
