//! Host names as Azure's metadata lists them: a strict subset of domain names, in lower case.
//!
//! Labels hold letters, digits, hyphens and underscores (`applicationinsights_ingestion` is real). A first label `*`
//! makes a wildcard. Everything else, escapes included, is refused: no service of Azure has such a name, and what
//! stands in metadata may have been written by anybody who can create a resource.

use std::fmt;

use crate::wire::{Name, NameError};

/// A host name: lower case, at least one label, compared label by label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Vec<String>);

/// Why a text is no host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostNameError {
    /// Not even a domain name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A domain name, but not one that a host has.
    #[error("host names have only letters, digits, hyphens and underscores, and \"*\" as whole first label")]
    NotPlain,
}

impl HostName {
    /// Reads a name as metadata writes it, with or without the final dot.
    pub fn parse(text: &str) -> Result<Self, HostNameError> {
        let labels: Vec<String> =
            Name::parse(text)?.labels().map(plain_label).collect::<Option<_>>().ok_or(HostNameError::NotPlain)?;
        let stars_ok = labels.iter().enumerate().all(|(at, label)| !label.contains('*') || (at == 0 && label == "*"));
        if labels.is_empty() || !stars_ok {
            return Err(HostNameError::NotPlain);
        }
        Ok(Self(labels))
    }

    /// Puts labels together; nothing when the result is not a host name or is too long (63 bytes a label, 255 in all).
    ///
    /// Besides what [`parse`](Self::parse) takes, the first label may be a partial wildcard: `*` before or after more.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let labels: Vec<String> = labels.into_iter().map(str::to_ascii_lowercase).collect();
        let plain = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        let (first, rest) = labels.split_first()?;
        let fixed = first.strip_prefix('*').or_else(|| first.strip_suffix('*')).unwrap_or(first);
        if !(first == "*" || plain(fixed)) || !rest.iter().all(|label| plain(label)) {
            return None;
        }
        Name::parse(&labels.join(".")).is_ok().then_some(Self(labels))
    }

    /// `front`'s labels followed by those of `suffix`, a text of our own.
    pub fn under<'a>(front: impl IntoIterator<Item = &'a str>, suffix: &'a str) -> Option<Self> {
        Self::from_labels(front.into_iter().chain(suffix.split('.')))
    }

    /// The labels from left to right.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.0.iter().map(String::as_str)
    }

    /// The labels in front of `suffix`; nothing when the name does not lie under it. The name itself lies under
    /// itself, with no label in front.
    pub fn in_front_of(&self, suffix: &str) -> Option<Vec<&str>> {
        let mut front: Vec<&str> = self.labels().collect();
        for label in suffix.rsplit('.') {
            if front.pop()? != label {
                return None;
            }
        }
        Some(front)
    }

    /// Whether a label says that this name belongs in a private DNS zone and is not what clients ask for.
    pub fn is_privatelink(&self) -> bool {
        self.labels().any(is_privatelink_label)
    }

    /// Whether the first label is a wildcard (RFC 4592).
    pub fn is_wildcard(&self) -> bool {
        self.labels().next() == Some("*")
    }

    /// Whether the first label matches by its beginning or its end: pldns's own, no other server has it.
    pub fn is_partial_wildcard(&self) -> bool {
        self.labels().next().is_some_and(|label| label.contains('*') && label != "*")
    }

    /// The name without its first label; `None` when nothing is left.
    pub fn parent(&self) -> Option<Self> {
        let rest = self.0.get(1..).filter(|rest| !rest.is_empty())?;
        Some(Self(rest.to_vec()))
    }

    /// The name in wire form.
    pub fn to_name(&self) -> Name {
        // Every constructor has parsed exactly this text.
        Name::parse(&self.0.join(".")).unwrap_or_else(|_| Name::root())
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a label is what private DNS zones of Azure begin with.
pub fn is_privatelink_label(label: &str) -> bool {
    crate::wire::name::is_privatelink_label(label.as_bytes())
}

fn plain_label(label: &[u8]) -> Option<String> {
    let plain = label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'*'));
    plain.then(|| label.escape_ascii().to_string().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_host_names() {
        for text in ["A.b", "*.eastus.inference.ml.azure.com", "applicationinsights_ingestion.monitor.azure.com", "x."]
        {
            assert_eq!(HostName::parse(text).unwrap().to_string(), text.trim_end_matches('.').to_ascii_lowercase());
        }
        let long = format!("{}.a", "x".repeat(300));
        for text in [
            "",
            ".",
            "a..b",
            "a b",
            "a\nb",
            "a\"b",
            "$(id).a",
            r"a\.b",
            r"a\010b",
            "a.*",
            "*x.a",
            "a/b.c",
            "a\u{e9}.b",
            "*.*.a",
            &long,
        ] {
            assert!(HostName::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn label_ends_are_for_us_to_build_alone() {
        let end = HostName::under(["*-eastus-guid", "eastus"], "notebooks.azure.net").unwrap();
        assert_eq!(end.to_string(), "*-eastus-guid.eastus.notebooks.azure.net");
        assert_eq!(HostName::under(["a.b"], "x"), None);
        assert_eq!(HostName::under([""], "x"), None);
        assert_eq!(HostName::under(["a".repeat(64).as_str()], "x"), None);
        assert_eq!(HostName::under(["a", "*"], "x"), None);
    }

    #[test]
    fn what_stands_in_front_is_whole_labels() {
        let name = HostName::parse("acct.blob.core.windows.net").unwrap();
        assert_eq!(name.in_front_of("core.windows.net"), Some(vec!["acct", "blob"]));
        assert_eq!(name.in_front_of("ore.windows.net"), None);
        assert_eq!(name.in_front_of("acct.blob.core.windows.net"), Some(vec![]));
        assert_eq!(name.in_front_of("x.acct.blob.core.windows.net"), None);
    }
}
