//! A JSON value with its path: members found without regard to case, lifted or below `properties`.

use serde_json::Value;

/// A value and where it stands in its document.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    value: &'a Value,
    path: String,
}

/// A value taken out of a document, with its place there.
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

    /// The member of this name in any case of letters; `null` counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        let members = self.value.as_object()?;
        let found =
            members.get_key_value(key).or_else(|| members.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)));
        let (name, value) = found.filter(|(_, value)| !value.is_null())?;
        Some(Self { value, path: format!("{}.{name}", self.path) })
    }

    /// Whether the member stands there, be it `null`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.value.as_object().is_some_and(|members| members.keys().any(|name| name.eq_ignore_ascii_case(key)))
    }

    /// The member below `properties` (REST), else in the object itself (the command line lifts them).
    pub(super) fn lifted(&self, key: &str) -> Option<Self> {
        self.get("properties").and_then(|properties| properties.get(key)).or_else(|| self.get(key))
    }

    /// The elements of an array; nothing for any other value.
    pub(super) fn items(&self) -> Vec<Self> {
        let items = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().enumerate().map(|(at, value)| Self { value, path: format!("{}[{at}]", self.path) }).collect()
    }

    /// The elements of the array that this member is; nothing when it is absent or no array.
    pub(super) fn list(&self, key: &str) -> Vec<Self> {
        self.lifted(key).map(|list| list.items()).unwrap_or_default()
    }

    /// The text, unless it is empty: Azure writes `""` for absent as well.
    pub(super) fn text(&self) -> Option<&'a str> {
        self.value.as_str().filter(|text| !text.is_empty())
    }

    /// The text of a member.
    pub(super) fn text_of(&self, key: &str) -> Option<&'a str> {
        self.lifted(key).and_then(|node| node.text())
    }

    /// The text of a member, with its place.
    pub(super) fn located(&self, key: &str) -> Option<Located<String>> {
        self.lifted(key).and_then(|node| node.to_located())
    }

    /// This text, with its place.
    pub(super) fn to_located(&self) -> Option<Located<String>> {
        Some(Located { value: self.text()?.to_owned(), path: self.path.clone() })
    }

    /// The texts of an array, or the one text that stands there instead.
    pub(super) fn texts(&self, key: &str) -> Vec<Located<String>> {
        let Some(node) = self.lifted(key) else {
            return Vec::new();
        };
        if node.is_array() {
            node.items().iter().filter_map(Self::to_located).collect()
        } else {
            node.to_located().into_iter().collect()
        }
    }

    /// A number of seconds.
    pub(super) fn seconds(&self, key: &str) -> Option<u32> {
        self.lifted(key).and_then(|node| node.value.as_u64()).and_then(|seconds| u32::try_from(seconds).ok())
    }

    /// A whole number, as text.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.get(key).and_then(|node| node.value.as_u64())
    }

    pub(super) fn value(&self) -> &'a Value {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_in_any_case_and_nesting() {
        let value =
            serde_json::json!({"Properties": {"privateIpAddress": "10.0.0.4"}, "name": "x", "empty": "", "gone": null});
        let node = Node::root(&value);
        let address = node.lifted("privateIPAddress").unwrap();
        assert_eq!((address.text(), address.path()), (Some("10.0.0.4"), "$.Properties.privateIpAddress"));
        assert_eq!(node.text_of("NAME"), Some("x"));
        assert_eq!(node.text_of("empty"), None);
        assert!(node.get("gone").is_none() && node.has("Gone"));
    }
}
