//! The rules of the house, read from the sources: who may use whom, and what the core must not touch.

use std::collections::{BTreeMap, BTreeSet};
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
        if ["privatelink_", "super::"].iter().any(|before| text[..at].ends_with(before)) {
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

/// Modules of one folder, each with those beside it that it uses.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// The modules of a folder of the sources: what is named by its own name, and what is named by a name that the folder's own file gives
/// on. That file itself is left out, as what it has is everybody's.
fn modules_of(folder: &Path, lines: &[Line]) -> Uses {
    let mut texts: BTreeMap<&Path, String> = BTreeMap::new();
    for line in lines {
        let is_own = line.file == folder.join("mod.rs") || line.file == folder.with_extension("rs");
        if is_own || line.file.starts_with(folder) {
            let text = texts.entry(&line.file).or_default();
            *text += " ";
            *text += line.text.trim();
        }
    }
    let mut uses = Uses::new();
    let mut own = String::new();
    let mut inside = Vec::new();
    for (file, text) in texts {
        let parts: Vec<_> = file.strip_prefix(folder).map_or(Vec::new(), |path| path.iter().collect());
        match parts.as_slice() {
            [] => own = text,
            [file] if *file == "mod.rs" => own = text,
            [first, below @ ..] => {
                let module = Path::new(first).file_stem().unwrap().to_string_lossy().into_owned();
                uses.entry(module.clone()).or_default();
                let depth = below.iter().filter(|part| **part != "mod.rs").count();
                inside.push((module, depth, text));
            }
        }
    }
    let given_on = given_on(&own, &uses);
    let whole = folder.iter().skip(1).map(|part| format!("{}::", part.to_string_lossy())).collect::<String>();
    for (module, depth, text) in inside {
        let paths = ["super::".repeat(depth + 1), format!("crate::{whole}")];
        for named in paths.iter().flat_map(|path| named_after(path, &text)) {
            let used = if uses.contains_key(&named) { Some(&named) } else { given_on.get(&named) };
            if let Some(used) = used.filter(|used| **used != module).cloned() {
                uses.get_mut(&module).unwrap().insert(used);
            }
        }
    }
    uses
}

/// The names that a folder's own file takes from its modules, each with its module.
fn given_on(own: &str, modules: &Uses) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for statement in own.split(';') {
        let Some((_, path)) = statement.rsplit_once("use ") else { continue };
        let Some((module, rest)) = path.trim().trim_start_matches("self::").split_once("::") else { continue };
        if modules.contains_key(module) {
            let leaf = |item: &str| {
                let name = item.rsplit("::").next().unwrap_or_default();
                name.rsplit(" as ").next().unwrap_or_default().trim().to_owned()
            };
            let items = rest.split(['{', '}', ',']).map(leaf).filter(|name| !name.is_empty());
            names.extend(items.map(|name| (name, module.to_owned())));
        }
    }
    names
}

/// The modules that one uses, and those that these use.
fn reached_from(module: &str, modules: &Uses) -> BTreeSet<String> {
    let mut todo: Vec<&String> = modules.get(module).into_iter().flatten().collect();
    let mut reached = BTreeSet::new();
    while let Some(next) = todo.pop() {
        if reached.insert(next.clone()) {
            todo.extend(modules.get(next).into_iter().flatten());
        }
    }
    reached
}

#[test]
fn no_module_uses_one_that_uses_it() {
    let lines = lines();
    let root = Path::new("src");
    let folders: BTreeSet<&Path> =
        lines.iter().filter_map(|line| line.file.parent()).filter(|it| *it != root).collect();
    assert!(folders.len() > 20, "the folders of the sources were not found");
    let mut problems = Vec::new();
    for folder in folders {
        let modules = modules_of(folder, &lines);
        let round = modules.keys().filter(|module| reached_from(module, &modules).contains(*module));
        problems.extend(round.map(|module| format!("{}: {module} uses itself by way of others", folder.display())));
    }
    none(problems);
}

#[test]
fn uses_are_found_however_they_are_written() {
    let line =
        |file: &str, text: &str| Line { file: file.into(), room: "a".to_owned(), number: 1, text: text.to_owned() };
    let lines = [
        line("src/a/mod.rs", "mod b; mod c; mod d; mod e; pub(super) use c::{Given, deep::Other as Another};"),
        line("src/a/b.rs", "use super::{"),
        line("src/a/b.rs", "    Given, d::Thing,"),
        line("src/a/b.rs", "};"),
        line("src/a/c.rs", "use super::super::e::No; use crate::a::d::Thing; use super::Nothing;"),
        line("src/a/d/mod.rs", "fn f() { super::e::g() }"),
        line("src/a/d/inner.rs", "use super::super::Another; use super::e::No;"),
        line("src/a/e.rs", ""),
    ];
    let uses = modules_of(Path::new("src/a"), &lines);
    let shown: Vec<_> = uses.iter().map(|(module, used)| format!("{module} {used:?}")).collect();
    assert_eq!(shown, [r#"b {"c", "d"}"#, r#"c {"d"}"#, r#"d {"c", "e"}"#, "e {}"]);
    assert!(reached_from("c", &uses).contains("c"), "c and d are a circle");
}

#[test]
fn the_parts_of_forwarding_do_not_know_each_other() {
    let (parts, files) = (["clients", "questions", "upstreams"], modules_of(Path::new("src/forward"), &lines()));
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
fn the_map_names_files_and_functions_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lines = lines();
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    let is_function = |name: &str| {
        let heads = [format!("fn {name}("), format!("fn {name}<")];
        lines.iter().any(|line| heads.iter().any(|head| line.text.contains(head.as_str())))
    };
    let mut problems = Vec::new();
    let mut looked_at = 0;
    for page in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root.join(page)).unwrap();
        for word in text.lines().flat_map(quoted) {
            let is_there = match (word.ends_with(".rs"), word.rsplit_once("::")) {
                (true, _) => root.join(word).exists() || files.iter().any(|file| file.ends_with(word)),
                (false, Some((_, name))) if name.starts_with(char::is_lowercase) => is_function(name),
                _ => continue,
            };
            looked_at += 1;
            if !is_there {
                problems.push(format!("{page}: {word} does not exist"));
            }
        }
    }
    assert!(looked_at > 50, "the names of the map were not found");
    none(problems);
}

#[test]
fn errors_are_types() {
    let lines = lines();
    let is_text = |line: &&Line| line.text.contains("Result<") && line.text.contains(", String>");
    none(lines.iter().filter(is_text).map(|line| format!("{}: a text is no error type", line.place())).collect());
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
