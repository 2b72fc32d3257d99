//! `pldns generate` as a user runs it: the built program, real metadata, and its records read back with another TOML
//! reader than its own printer.

mod answers;
mod command;
mod documentation;
mod field;
mod formats;
mod hostile;
mod messages;
mod pasted;
mod samples;
mod sources;
mod workspaces;
mod zones;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::common::Ran as Run;
use crate::common::command::run_with_input;

/// Names with their addresses (or other data), by type.
type Records = BTreeMap<(String, String), Vec<String>>;

impl Run {
    /// `pldns generate` with these arguments and this text on its standard input.
    fn new(arguments: &[&str], stdin: &[u8]) -> Self {
        Self::command("generate", arguments, stdin)
    }

    /// A command of the program, in the root of the repository.
    fn command(command: &str, arguments: &[&str], stdin: &[u8]) -> Self {
        run_with_input(Path::new(env!("CARGO_MANIFEST_DIR")), &[&[command], arguments].concat(), stdin)
    }

    /// The program over a JSON text on its standard input.
    fn on(json: &serde_json::Value) -> Self {
        Self::new(&[], json.to_string().as_bytes())
    }

    /// The program over several JSON texts, one after the other, with options.
    fn on_all(options: &[&str], documents: &[serde_json::Value]) -> Self {
        let text: Vec<String> = documents.iter().map(ToString::to_string).collect();
        Self::new(options, text.join("\n").as_bytes())
    }

    /// The records, after a run that must have gone well.
    #[track_caller]
    fn records(&self) -> Records {
        assert_eq!(self.code, Some(0), "{}", self.err);
        read_back(&self.out)
    }

    /// The records without those of private DNS zones.
    #[track_caller]
    fn public(&self) -> BTreeSet<String> {
        let records = self.records();
        let public = records.iter().filter(|((name, _), _)| !name.contains("privatelink"));
        public.map(|((name, _), data)| format!("{name} {}", data.join(" "))).collect()
    }

    /// That a run failed, saying all of `parts` and giving nothing.
    #[track_caller]
    fn fails_with(&self, parts: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (Some(1), ""), "{}", self.err);
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is not in:\n{}", self.err);
        }
    }
}

/// Reads a records file strictly: exactly the keys that it may have, no name and type twice.
#[track_caller]
fn read_back(text: &str) -> Records {
    let table: toml::Table = text.parse().unwrap();
    assert_eq!(table.keys().collect::<Vec<_>>(), ["record"]);
    let mut records = Records::new();
    for record in table["record"].as_array().unwrap() {
        let record = record.as_table().unwrap();
        assert!(record.keys().all(|key| ["name", "type", "data", "ttl"].contains(&key.as_str())), "{record:?}");
        let text_of = |key: &str| record[key].as_str().unwrap().to_owned();
        let data = record["data"].as_array().unwrap().iter().map(|data| data.as_str().unwrap().to_owned());
        let owner = (text_of("name"), text_of("type"));
        assert_eq!(owner.0, owner.0.to_ascii_lowercase());
        assert!(records.insert(owner.clone(), data.collect()).is_none(), "{owner:?} is there twice");
    }
    records
}

/// The address records, as `name address`.
fn lines(records: &Records) -> BTreeSet<String> {
    records.iter().map(|((name, _), data)| format!("{name} {}", data.join(" "))).collect()
}

fn set(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(ToString::to_string).collect()
}

/// The text of a file that a run wrote.
fn text_of(path: &str) -> String {
    std::fs::read_to_string(path).unwrap()
}
