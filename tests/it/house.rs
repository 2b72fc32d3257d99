//! The rules of the house, read from the sources: who may use whom, and what the core must not touch.

use std::fs;
use std::path::{Path, PathBuf};

/// Room, and the rooms that it may use. The room itself is understood.
const ROOMS: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("rdata", &["wire"]),
    ("document", &[]),
    ("records", &["wire", "rdata", "document"]),
    ("cache", &["wire"]),
    ("forward", &["wire"]),
    ("engine", &["wire", "records", "cache", "forward"]),
    ("explain", &["wire", "rdata", "records", "forward", "engine"]),
    ("client", &["wire", "forward", "explain", "upstream"]),
    ("verify", &["wire", "rdata", "records", "cache", "forward", "engine", "explain", "client", "upstream"]),
    ("sys", &[]),
    ("server", &["sys", "engine", "wire", "forward", "upstream", "log"]),
    ("upstream", &["sys", "engine", "wire", "forward"]),
    ("azure", &["wire"]),
    ("generate", &["azure", "document", "rdata", "wire"]),
    ("files", &[]),
    ("discover", &["azure", "generate", "files", "client", "upstream", "config", "forward", "wire"]),
    (
        "admin",
        &["discover", "server", "client", "explain", "engine", "forward", "records", "rdata", "wire", "config", "log"],
    ),
    ("log", &["config", "wire"]),
    ("config", &["document", "records", "wire", "forward"]),
];

/// Rooms that put the pieces together and may use all.
const FREE: &[&str] = &["reload", "control", "cli", "fuzz"];

const CORE: &[&str] = &["wire", "rdata", "records", "cache", "forward", "engine", "explain"];

/// What the core must not touch: clocks, sockets, files, a runtime.
const FORBIDDEN_IN_CORE: &[&str] = &[
    "Instant::now",
    "SystemTime",
    ".elapsed()",
    "std::net::UdpSocket",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "UdpSocket::",
    "tokio",
    "std::fs",
    "std::thread::sleep",
];

/// One line of code, without comments, tests and blanks.
struct Line {
    file: PathBuf,
    room: String,
    number: usize,
    text: String,
}

impl Line {
    fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.number)
    }
}

/// All lines of `src/**/*.rs` outside tests.
fn lines() -> Vec<Line> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    assert!(files.len() > 3, "the sources were not found at {}", root.display());
    files.iter().flat_map(|file| lines_of(&root, file)).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn lines_of(root: &Path, file: &Path) -> Vec<Line> {
    let inside = file.strip_prefix(root).unwrap();
    // Tests in files of their own are tests as well.
    if inside.iter().any(|part| part == "tests" || part == "tests.rs") {
        return Vec::new();
    }
    let first = inside.iter().next().unwrap().to_string_lossy();
    let room = first.strip_suffix(".rs").unwrap_or(&first).to_owned();
    let text = fs::read_to_string(file).unwrap();
    code_lines(&text)
        .into_iter()
        .map(|(number, text)| Line { file: Path::new("src").join(inside), room: room.clone(), number, text })
        .collect()
}

/// Numbered lines without comments; what follows `#[cfg(test)]`, up to the end of its item, is left out.
fn code_lines(text: &str) -> Vec<(usize, String)> {
    let mut kept = Vec::new();
    let mut depth = 0_i32;
    let mut skipping = false;
    let mut opened = false;
    for (index, raw) in text.lines().enumerate() {
        let code = raw.split("//").next().unwrap_or_default();
        if !skipping && code.trim_start().starts_with("#[cfg(test)]") {
            (skipping, opened, depth) = (true, false, 0);
            continue;
        }
        if !skipping {
            if !code.trim().is_empty() {
                kept.push((index + 1, code.to_owned()));
            }
            continue;
        }
        for letter in code.chars() {
            match letter {
                '{' => (depth, opened) = (depth + 1, true),
                '}' => depth -= 1,
                _ => {}
            }
        }
        let item_without_body = !opened && code.trim_end().ends_with(';');
        if opened && depth == 0 || item_without_body {
            skipping = false;
        }
    }
    kept
}

/// The rooms that a line names by `crate::room` or `crate::{room, ...}`.
fn rooms_named(text: &str) -> Vec<String> {
    named_after("crate::", text)
}

/// The first words that follow a path in a line.
fn named_after(path: &str, text: &str) -> Vec<String> {
    let word = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut named = Vec::new();
    for (at, _) in text.match_indices(path) {
        let rest = &text[at + path.len()..];
        if text[..at].ends_with("privatelink_") {
            continue;
        }
        match rest.strip_prefix('{') {
            Some(group) => {
                let mut depth = 0;
                let mut start = true;
                for (place, letter) in group.char_indices() {
                    match letter {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        letter if start && letter.is_alphabetic() => {
                            named.push(word(&group[place..]));
                            start = false;
                        }
                        _ => {}
                    }
                    if depth < 0 {
                        break;
                    }
                }
            }
            None => named.push(word(rest)),
        }
    }
    named
}

#[track_caller]
fn none(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn rooms_use_only_what_lies_below_them() {
    let known = |room: &str| ROOMS.iter().any(|(name, _)| *name == room) || FREE.contains(&room);
    let mut problems = Vec::new();
    for line in lines() {
        let Some((_, may_use)) = ROOMS.iter().find(|(name, _)| *name == line.room) else {
            continue;
        };
        for named in rooms_named(&line.text) {
            if known(&named) && named != line.room && !may_use.contains(&named.as_str()) {
                problems.push(format!("{}: {} must not use {named}", line.place(), line.room));
            }
        }
    }
    none(problems);
}

/// The files of a room, each with those of the same room that it uses.
fn files_used(room: &str) -> Vec<(String, Vec<String>)> {
    let mut files: Vec<(String, Vec<String>)> = Vec::new();
    for line in lines().iter().filter(|line| line.room == room && line.file.components().count() == 3) {
        let name = line.file.file_stem().unwrap().to_string_lossy().into_owned();
        if files.last().is_none_or(|(last, _)| *last != name) {
            files.push((name, Vec::new()));
        }
        files.last_mut().unwrap().1.extend(named_after("super::", &line.text));
    }
    files.retain(|(name, _)| name != "mod");
    files
}

/// The files that one uses, and those that these use.
fn reached_from(file: &str, files: &[(String, Vec<String>)]) -> Vec<String> {
    let used = |file: &str| files.iter().find(|(name, _)| name == file).map_or(&[][..], |(_, used)| used);
    let mut todo = used(file).to_vec();
    let mut reached = Vec::new();
    while let Some(next) = todo.pop() {
        if !reached.contains(&next) {
            todo.extend_from_slice(used(&next));
            reached.push(next);
        }
    }
    reached
}

#[test]
fn no_file_of_forward_or_server_uses_one_that_uses_it() {
    let mut problems = Vec::new();
    for room in ["forward", "server"] {
        let files = files_used(room);
        assert!(files.len() > 10, "the files of {room} were not found");
        let round = files.iter().filter(|(file, _)| reached_from(file, &files).contains(file));
        problems.extend(round.map(|(file, _)| format!("{room}/{file}.rs uses itself by way of others")));
    }
    none(problems);
}

#[test]
fn the_parts_of_forwarding_do_not_know_each_other() {
    let (parts, files) = (["clients", "questions", "upstreams"], files_used("forward"));
    for part in parts {
        let reached = reached_from(part, &files);
        assert!(!reached.is_empty(), "{part} was not found");
        let others: Vec<_> = reached.iter().filter(|file| parts.contains(&file.as_str())).collect();
        assert!(others.is_empty(), "{part} knows {others:?}");
    }
}

#[test]
fn a_use_of_many_lines_is_not_overlooked() {
    // The check above reads line by line: `use crate::{` must close on its own line.
    let problems = lines()
        .iter()
        .filter(|line| line.text.contains("crate::{") && !line.text.contains('}'))
        .map(|line| format!("{}: write one `use` for each room", line.place()))
        .collect();
    none(problems);
}

#[test]
fn every_room_is_in_the_table() {
    let mut problems = Vec::new();
    for line in lines() {
        let is_room = ROOMS.iter().any(|(name, _)| *name == line.room) || FREE.contains(&line.room.as_str());
        if !is_room && !["lib", "main"].contains(&line.room.as_str()) {
            problems.push(format!("{}: no rule says what {} may use", line.place(), line.room));
        }
    }
    problems.dedup();
    none(problems);
}

#[test]
fn the_core_has_no_clock_no_socket_and_no_file() {
    let mut problems = Vec::new();
    for line in lines().iter().filter(|line| CORE.contains(&line.room.as_str())) {
        for forbidden in FORBIDDEN_IN_CORE {
            if line.text.contains(forbidden) {
                problems.push(format!("{}: {} in {}", line.place(), forbidden, line.room));
            }
        }
    }
    none(problems);
}

/// The words in backquotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_map_has_the_same_table() {
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    let rows: Vec<Vec<&str>> = map
        .lines()
        .skip_while(|line| !line.starts_with("| room |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split(" | ").collect())
        .collect();
    assert!(rows.len() > 10, "the table of ARCHITECTURE.md was not found");
    let mut free = Vec::new();
    let mut drawn = Vec::new();
    for row in &rows {
        if row[2].trim() == "all" {
            free.extend(quoted(row[0]));
        } else {
            let mut uses = quoted(row[2]);
            uses.sort_unstable();
            drawn.extend(quoted(row[0]).into_iter().map(|room| (room, uses.clone())));
        }
    }
    let ruled = ROOMS.iter().map(|(room, uses)| {
        let mut uses = uses.to_vec();
        uses.sort_unstable();
        (*room, uses)
    });
    drawn.sort_unstable();
    let mut ruled: Vec<_> = ruled.collect();
    ruled.sort_unstable();
    assert_eq!(drawn, ruled);
    free.sort_unstable();
    let mut expected = FREE.to_vec();
    expected.sort_unstable();
    assert_eq!(free, expected);
}

#[test]
fn unsafe_code_stays_in_its_room() {
    let unsafe_word = |text: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
    let problems = lines()
        .iter()
        .filter(|line| line.room != "sys" && unsafe_word(&line.text))
        .map(|line| format!("{}: unsafe outside sys", line.place()))
        .collect();
    none(problems);
}

#[test]
fn the_table_of_rooms_has_no_cycle() {
    for (room, uses) in ROOMS {
        let mut todo: Vec<&str> = uses.to_vec();
        let mut seen = Vec::new();
        while let Some(next) = todo.pop() {
            assert_ne!(next, *room, "{room} uses itself by way of others");
            if !seen.contains(&next) {
                seen.push(next);
                todo.extend(ROOMS.iter().find(|(name, _)| *name == next).unwrap().1);
            }
        }
    }
}

#[test]
fn the_reader_of_this_file_reads_rightly() {
    assert_eq!(rooms_named("use crate::wire::{Name, Rtype};"), ["wire"]);
    assert_eq!(rooms_named("use crate::{cache::{A, B}, wire};"), ["cache", "wire"]);
    assert_eq!(rooms_named("let x = crate::engine::f(crate::sys::g());"), ["engine", "sys"]);
    let text =
        "a();\n// crate::sys\n#[cfg(test)]\nmod tests {\n    fn f() { bad(); }\n}\nb();\n#[cfg(test)]\nmod t;\nc();\n";
    let kept: Vec<_> = code_lines(text).into_iter().map(|(number, text)| format!("{number} {text}")).collect();
    assert_eq!(kept, ["1 a();", "7 b();", "10 c();"]);
}
