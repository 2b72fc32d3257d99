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
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Names with their addresses (or other data), by type.
type Records = BTreeMap<(String, String), Vec<String>>;

/// What a run gave.
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Run {
    /// `pldns generate` with these arguments and this text on its standard input.
    fn new(arguments: &[&str], stdin: &[u8]) -> Self {
        Self::command("generate", arguments, stdin)
    }

    /// A command of the program.
    fn command(command: &str, arguments: &[&str], stdin: &[u8]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pldns"))
            .arg(command)
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A run that fails early may have closed its end.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        Self::from(child.wait_with_output().unwrap())
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
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        read_back(&self.stdout)
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
        assert_eq!((self.code, self.stdout.as_str()), (Some(1), ""), "{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in:\n{}", self.stderr);
        }
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
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

/// A directory of this test's own, gone when dropped.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pldns-generate-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// The path of a file in it.
    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// A file in it with this text; its path.
    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        std::fs::write(self.0.join(name), text).unwrap();
        self.path(name)
    }

    fn names(&self) -> BTreeSet<String> {
        std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
