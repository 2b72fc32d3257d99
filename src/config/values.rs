//! Values that several sections have.

use crate::document::{Document, Placed, TableReader, parse_duration};
use crate::records::ttl_seconds;
use crate::wire::Name;
use crate::wire::name::a_label_form;

/// A duration of whole seconds.
pub(super) fn read_seconds(document: &Document<'_>, section: &TableReader<'_>, key: &'static str) -> Option<u32> {
    let duration = section.parsed(key, "a duration", parse_duration)?;
    let seconds = ttl_seconds(duration.value);
    if seconds.is_none() {
        document.error(
            duration.span,
            format!("`{key}` is a whole number of seconds up to 2147483647"),
            format!("{key} = \"60s\""),
        );
    }
    seconds
}

/// A zone: a name without a `*`.
pub(super) fn read_name(document: &Document<'_>, key: &str, text: &Placed<&str>) -> Option<Name> {
    match Name::parse(text.value) {
        Ok(name) if name.labels().any(|label| label.contains(&b'*')) => {
            document.error(
                text.span.clone(),
                format!("`{key}` is a zone: it takes no `*`"),
                "a zone holds all names below it",
            );
            None
        }
        Ok(name) => Some(name),
        Err(error) => {
            document.error(
                text.span.clone(),
                format!("`{key}` is not a valid domain name: {error}"),
                match a_label_form(text.value) {
                    Some(name) => format!("write it as \"{name}\": DNS has letters of other scripts in this form"),
                    None => "a zone such as \"privatelink.api.azureml.ms\"".to_owned(),
                },
            );
            None
        }
    }
}
