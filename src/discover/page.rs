//! Pages of Azure Resource Manager, read piece by piece: of each object only the members that discovery uses are kept, as
//! JSON text, so that a round holds little more than the names and addresses in it.

use std::fmt;
use std::io::Read;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What is kept of a value. Of a list, each element is kept so.
#[derive(Debug)]
pub(super) enum Shape {
    /// Strings, numbers and truth values.
    Value,
    /// An object with these members.
    Object(&'static [(&'static str, Self)]),
}

/// A page: its objects as text, and where the next one is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// `None` where the answer has no list `value`.
    pub(super) objects: Option<Vec<String>>,
    pub(super) next: Option<String>,
}

/// Why a page cannot be read.
#[derive(Debug)]
pub(super) enum PageError {
    /// More than may be kept.
    TooLarge,
    Json(serde_json::Error),
}

/// What an object takes beside its text, bytes: the string itself, its place in lists, its id.
pub(super) const OBJECT_BYTES: u64 = 128;

/// What an object of this text takes, bytes.
pub(super) fn held_by(text: &str) -> u64 {
    text.len() as u64 + OBJECT_BYTES
}

/// Reads a page and keeps `max` bytes of it at most.
pub(super) fn read(body: impl Read, shape: &Shape, max: u64) -> Result<Page, PageError> {
    let mut room = Room { left: max, is_over: false };
    let mut json = serde_json::Deserializer::from_reader(std::io::BufReader::new(body));
    let page = PageSeed { shape, room: &mut room }.deserialize(&mut json).and_then(|page| json.end().map(|()| page));
    page.map_err(|error| if room.is_over { PageError::TooLarge } else { PageError::Json(error) })
}

/// What may still be kept.
struct Room {
    left: u64,
    is_over: bool,
}

impl Room {
    fn take<E: Error>(&mut self, bytes: u64) -> Result<(), E> {
        let left = self.left.checked_sub(bytes);
        self.is_over |= left.is_none();
        self.left = left.ok_or_else(|| E::custom("too large"))?;
        Ok(())
    }
}

struct PageSeed<'p> {
    shape: &'p Shape,
    room: &'p mut Room,
}

impl<'de> DeserializeSeed<'de> for PageSeed<'_> {
    type Value = Page;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Page, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PageSeed<'_> {
    type Value = Page;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list `value`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Page, A::Error> {
        let mut page = Page::default();
        while let Some(key) = members.next_key::<String>()? {
            match key.as_str() {
                "value" => {
                    page.objects = Some(members.next_value_seed(Objects { shape: self.shape, room: self.room })?);
                }
                "nextLink" => page.next = members.next_value::<Option<String>>()?.filter(|next| !next.is_empty()),
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(page)
    }
}

struct Objects<'p> {
    shape: &'p Shape,
    room: &'p mut Room,
}

impl<'de> DeserializeSeed<'de> for Objects<'_> {
    type Value = Vec<String>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Objects<'_> {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<String>, A::Error> {
        let mut objects = Vec::new();
        loop {
            let mut text = String::new();
            if elements.next_element_seed(Kept { shape: self.shape, text: &mut text, room: self.room })?.is_none() {
                return Ok(objects);
            }
            self.room.take(OBJECT_BYTES)?;
            text.shrink_to_fit();
            objects.push(text);
        }
    }
}

/// Writes what is kept of a value.
struct Kept<'p> {
    shape: &'p Shape,
    text: &'p mut String,
    room: &'p mut Room,
}

impl Kept<'_> {
    fn write<E: Error>(&mut self, text: &str) -> Result<(), E> {
        self.room.take(text.len() as u64)?;
        self.text.push_str(text);
        Ok(())
    }

    fn write_string<E: Error>(&mut self, text: &str) -> Result<(), E> {
        // The text first: quoted, it is no shorter.
        if text.len() as u64 > self.room.left {
            return self.room.take(text.len() as u64);
        }
        self.write(&serde_json::to_string(text).map_err(E::custom)?)
    }

    fn inner<'i>(&'i mut self, shape: &'i Shape) -> Kept<'i> {
        Kept { shape, text: self.text, room: self.room }
    }
}

impl<'de> DeserializeSeed<'de> for Kept<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Kept<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(mut self) -> Result<(), E> {
        self.write("null")
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<(), E> {
        self.write(if value { "true" } else { "false" })
    }

    fn visit_u64<E: Error>(mut self, value: u64) -> Result<(), E> {
        self.write(&value.to_string())
    }

    fn visit_i64<E: Error>(mut self, value: i64) -> Result<(), E> {
        self.write(&value.to_string())
    }

    // No member that is used is a fraction.
    fn visit_f64<E: Error>(mut self, _: f64) -> Result<(), E> {
        self.write("null")
    }

    fn visit_str<E: Error>(mut self, value: &str) -> Result<(), E> {
        self.write_string(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        self.write("[")?;
        let mut is_first = true;
        loop {
            // Written before it is known whether there is an element: a comma too many is taken back.
            let before = self.text.len();
            if !is_first {
                self.write(",")?;
            }
            is_first = false;
            let shape = self.shape;
            if elements.next_element_seed(self.inner(shape))?.is_none() {
                self.text.truncate(before);
                return self.write("]");
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let Shape::Object(shapes) = self.shape else {
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return self.write("null");
        };
        self.write("{")?;
        let mut is_first = true;
        while let Some(key) = members.next_key::<String>()? {
            let Some((key, shape)) = shapes.iter().find(|(name, _)| *name == key) else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            if !std::mem::take(&mut is_first) {
                self.write(",")?;
            }
            self.write_string(key)?;
            self.write(":")?;
            members.next_value_seed(self.inner(shape))?;
        }
        self.write("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape =
        Shape::Object(&[("id", Shape::Value), ("properties", Shape::Object(&[("names", Shape::Value)]))]);

    fn page(text: &str, max: u64) -> Result<Page, PageError> {
        read(text.as_bytes(), &SHAPE, max)
    }

    #[test]
    fn only_the_members_that_are_used_are_kept() {
        let text = r#"{"nextLink": "https://next", "more": {"value": [1]}, "value": [
            {"id": "/a\"b", "tags": {"x": [{}]}, "properties": {"names": ["a", "b", null, 5, true, -1, {"c": 1}], "x": 1}},
            {"properties": null}, {"properties": {"names": []}}, 7, {"id": {"x": 1}, "properties": [{"names": "c"}, {}]}
        ]}"#;
        let page = page(text, 10_000).unwrap();
        assert_eq!(page.next.as_deref(), Some("https://next"));
        let expected = [
            r#"{"id":"/a\"b","properties":{"names":["a","b",null,5,true,-1,null]}}"#,
            r#"{"properties":null}"#,
            r#"{"properties":{"names":[]}}"#,
            "7",
            r#"{"id":null,"properties":[{"names":"c"},{}]}"#,
        ];
        assert_eq!(page.objects.unwrap(), expected);
    }

    #[test]
    fn what_is_more_than_may_be_kept_is_told_from_what_is_no_json() {
        let text = format!(r#"{{"value": [{{"id": "{}", "x": "{}"}}]}}"#, "a".repeat(1000), "b".repeat(5000));
        assert!(page(&text, 1009 + OBJECT_BYTES).is_ok());
        assert!(matches!(page(&text, 1008 + OBJECT_BYTES), Err(PageError::TooLarge)));
        let many = format!(r#"{{"value": [{}1]}}"#, "1,".repeat(1000));
        assert!(matches!(page(&many, 1001 * OBJECT_BYTES), Err(PageError::TooLarge)), "each object takes some room");
        for broken in ["", "{", "[]", "<html>", r#"{"value": 1}"#, r#"{"value": []} x"#, &text[..text.len() - 3]] {
            assert!(matches!(page(broken, 10_000), Err(PageError::Json(_))), "{broken}");
        }
        assert_eq!(page("{}", 0).unwrap(), Page::default());
        assert_eq!(page(r#"{"value": [], "nextLink": null}"#, 0).unwrap().objects, Some(Vec::new()));
    }
}
