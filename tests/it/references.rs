//! What documents say, held against the program: settings, metrics, routes, examples, and the reasons of dependencies.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use privatelink_dns::admin::ROUTES;
use privatelink_dns::config::{Environment, Places, Settings, read_settings};
use privatelink_dns::document::{Problems, SourceText};
use privatelink_dns::records::read_records;

use crate::common::{Scratch, Setup};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// README and the pages of docs.
fn documents() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md")];
    found.extend(fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    found.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    found.sort();
    assert!(found.len() > 5, "{found:?}");
    found
}

/// The fenced blocks of a language, each with its line.
fn blocks(text: &str, language: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        match &mut open {
            None if line.trim_end() == format!("```{language}") => open = Some((index + 1, String::new())),
            Some(_) if line.starts_with("```") => found.extend(open.take()),
            Some((_, block)) => *block += &format!("{line}\n"),
            None => {}
        }
    }
    found
}

/// The cells of the table below the heading, row by row, without the head.
fn table(text: &str, heading: &str) -> Vec<Vec<String>> {
    let section = text.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no heading {heading}"));
    let rows = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| {
        let row = row.trim_matches('|').replace("\\|", "\u{0}");
        row.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
    };
    rows.skip(2).map(cells).collect()
}

/// The words in backquotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn settings_of(name: &str, text: &str) -> (Settings, Problems) {
    let mut problems = Problems::default();
    let environment =
        Environment { public_zones: &[], is_local: &|address| address.is_unspecified() || address.is_loopback() };
    let settings = read_settings(&SourceText::new(name, text), &environment, &mut problems);
    (settings, problems)
}

#[test]
fn the_documented_settings_are_the_defaults() {
    let (mut settings, problems) = settings_of("pldns.toml", &read("config/pldns.toml"));
    assert_eq!(problems.to_string(), "");
    // What tells a written default from one that was left out.
    settings.listen.dns_is_default = true;
    settings.listen.admin_is_default = true;
    settings.records.is_default = true;
    settings.records.files.iter_mut().for_each(|(_, span)| *span = 0..0);
    settings.tls.certificate.1 = 0..0;
    settings.tls.private_key.1 = 0..0;
    settings.places = Places::default();
    assert_eq!(settings, Settings::default());
}

#[test]
fn every_toml_example_can_be_loaded() {
    let mut seen = 0;
    for path in documents() {
        for (line, block) in blocks(&fs::read_to_string(&path).unwrap(), "toml") {
            let place = format!("{}:{line}", path.display());
            let mut problems = Problems::default();
            if block.contains("[[record]]") {
                read_records(&SourceText::new(&*place, &*block), 0, &mut problems);
            } else {
                problems = settings_of(&place, &block).1;
            }
            assert!(!problems.has_errors(), "{place}\n{problems}");
            seen += 1;
        }
    }
    assert!(seen > 0, "no example was found");
}

/// An output without what differs from run to run, and without a difference between tabs and spaces.
fn plain(output: &str) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let without_id = |line: String| match line.split_once(", id: ") {
        Some((before, _)) => before.to_owned(),
        None => line,
    };
    output.lines().map(words).filter(|line| !line.is_empty()).map(without_id).collect()
}

#[test]
fn the_dig_sessions_of_the_readme_come_out_as_printed() {
    if Command::new("dig").arg("-v").output().is_err() {
        return eprintln!("no dig: left out");
    }
    let records = read("config/records/workspace.toml");
    let settings = read("config/quickstart.toml").replace("127.0.0.1:5380", "127.0.0.1:0");
    let server = Setup::new(&settings.replace("[listen]\n", "[listen]\ndrain = \"0s\"\n"), &records).start();
    let address = format!("@{} -p {} ", server.address().ip(), server.address().port());
    let mut seen = 0;
    for (line, block) in blocks(&read("README.md"), "console") {
        for session in block.split("$ ").skip(1) {
            let (command, expected) = session.split_once('\n').unwrap();
            assert!(command.starts_with("dig @127.0.0.1 -p 5300 "), "README.md:{line}: {command}");
            let command = command.replace("@127.0.0.1 -p 5300 ", &address);
            let ran = Command::new("sh").args(["-c", &command]).output().unwrap();
            let output = String::from_utf8(ran.stdout).unwrap();
            assert_eq!(plain(&output), plain(expected), "README.md:{line}: {command}");
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen} sessions");
}

/// Stands in for `az`, `cargo` and `pldns` in the commands of the README: recorded output, and the program that is tested. What
/// would serve is checked instead.
const STAND_INS: &str = r#"
az() {
    case "$*" in
        "network private-endpoint show "*) echo /subscriptions/s/resourceGroups/rg/providers/i ;;
        "network nic "*) cat "$ROOT/config/metadata/workspace.json" ;;
        *) echo "az $*: not known here" >&2; return 1 ;;
    esac
}
pldns() {
    case "$1" in
        serve) shift; set -- check "$@" ;;
    esac
    case "$*" in
        "check") set -- check -c "$DIR/pldns.toml" ;;
    esac
    "$PLDNS" "$@"
}
cargo() {
    case "$*" in
        "run --release -- "*) shift 3; pldns "$@" ;;
        *) echo "cargo $*: not known here" >&2; return 1 ;;
    esac
}
# What starts a command by itself knows no functions.
xargs() { shift; read -r id && az "$@" "$id"; }
set -e
"#;

#[test]
fn the_commands_of_the_readme_run_as_printed() {
    let settings = read("config/quickstart.toml").replace("127.0.0.1:5380", "127.0.0.1:0");
    let settings = settings.replace("[listen]\n", "[listen]\ndrain = \"0s\"\n");
    let server = Setup::new(&settings, &read("config/records/workspace.toml")).start();
    let is_admin = |event: &serde_json::Value| event["message"] == "listening" && event["transport"] == "admin";
    let admin = server.events().into_iter().find(is_admin).unwrap()["address"].as_str().unwrap().to_owned();
    let dir = Scratch::new();
    dir.write("records/mine.toml", "[[record]]\nname = \"a.example\"\ntype = \"A\"\ndata = \"10.0.0.1\"\n");
    dir.write("pldns.toml", "[listen]\ndns = [\"127.0.0.1:0\"]\nadmin = \"\"\n");
    std::os::unix::fs::symlink(root().join("config"), dir.path().join("config")).unwrap();
    let mut seen = Vec::new();
    for (line, block) in blocks(&read("README.md"), "sh") {
        if block.starts_with("curl ") && Command::new("curl").arg("-V").output().is_err() {
            eprintln!("no curl: README.md:{line} is left out");
            continue;
        }
        let block = block.replace("127.0.0.1:5380", &admin).replace("/etc/pldns", dir.path().to_str().unwrap());
        let ran = Command::new("bash")
            .args(["-o", "pipefail", "-c", &format!("{STAND_INS}{block}")])
            .current_dir(dir.path())
            .env("ROOT", root())
            .env("DIR", dir.path())
            .env("PLDNS", env!("CARGO_BIN_EXE_pldns"))
            .output()
            .unwrap();
        let (output, errors) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "README.md:{line}: {block}{output}{errors}");
        if block.contains("/explain?") {
            assert!(output.contains("\"verdict\":\"private\""), "README.md:{line}: {output}");
        }
        seen.push(block);
    }
    assert!(seen.len() >= 6, "{seen:?}");
    for written in ["records/subscription.toml", "records/workspace.toml"] {
        let text = fs::read_to_string(dir.path().join(written)).unwrap();
        assert!(text.contains("privatelink.api.azureml.ms"), "{written}: {text}");
    }
}

/// The files of tests, by the last part of their path without `.rs`, with their texts.
fn test_sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut walk = vec![root().join("src"), root().join("tests"), root().join("benches")];
    while let Some(path) = walk.pop() {
        if path.is_dir() {
            walk.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
        }
    }
    found
}

/// Whether a word of the threat model's last column names something that is there: a file or module with tests, or a test of one.
fn is_there(word: &str, sources: &[(PathBuf, String)]) -> bool {
    let texts_of = |module: &str| -> Vec<&str> {
        let module = module.trim_end_matches(".rs").replace("operate: ", "operate::").replace("::", "/");
        let is_it = |path: &Path| {
            let path = path.with_extension("");
            let path = format!("/{}", path.to_str().unwrap().trim_end_matches("/mod"));
            [&*module, module.trim_end_matches("/tests")].iter().any(|module| path.ends_with(&format!("/{module}")))
        };
        let has_tests = |path: &Path, text: &str| path.starts_with("benches") || text.contains("test]\n");
        let found = sources.iter().filter(|(path, text)| is_it(path) && has_tests(path, text));
        found.map(|(_, text)| &**text).collect()
    };
    if !texts_of(word).is_empty() {
        return true;
    }
    let (texts, function) = match word.rsplit_once("::") {
        Some((module, function)) => (texts_of(module), function),
        None => (sources.iter().map(|(_, text)| &**text).collect(), word),
    };
    let is_a_test = |text: &&str| {
        text.split("test]\n").skip(1).any(|after| {
            let line = after.lines().next().unwrap_or_default();
            line.trim_start().trim_start_matches("async ").starts_with(&format!("fn {function}("))
        })
    };
    texts.iter().any(is_a_test)
}

#[test]
fn every_promise_of_the_reliability_page_has_a_test_that_exists() {
    let sources = test_sources();
    let text = read("docs/reliability.md");
    let rows =
        text.lines().filter(|line| line.starts_with("| ") && !line.contains("| test |") && !line.contains("---"));
    let tests: Vec<_> = rows.map(|row| row.trim_end_matches(" |").rsplit(" | ").next().unwrap()).collect();
    assert!(tests.len() > 20, "{tests:?}");
    for test in tests {
        let words = quoted(test);
        assert!(!words.is_empty() && words.iter().all(|word| is_there(word, &sources)), "{test}");
    }
}

#[test]
fn the_threat_model_names_tests_that_exist() {
    let sources = test_sources();
    let (mut absent, mut seen) = (Vec::new(), 0);
    for row in table(&read("SECURITY.md"), "Threat model") {
        let [attack, _, shown_by] = row.as_slice() else { panic!("{row:?}") };
        let words = quoted(shown_by);
        assert!(!words.is_empty(), "{attack}: shown by nothing");
        seen += words.len();
        absent.extend(words.into_iter().filter(|word| !is_there(word, &sources)).map(str::to_owned));
    }
    assert!(seen > 30, "{seen} tests are named");
    assert!(absent.is_empty(), "named in SECURITY.md, and not there: {absent:#?}");
    assert!(!is_there("hostile::a_test_that_is_not_there", &sources) && !is_there("operate: nowhere", &sources));
}

/// The keys of a schema, as in `listen.dns` and `[[forward]] zone`.
fn keys_of_settings() -> BTreeSet<String> {
    let schema: serde_json::Value = serde_json::from_str(&read("src/cli/schema/settings.json")).unwrap();
    let mut keys = BTreeSet::new();
    let mut walk = vec![(String::new(), &schema)];
    while let Some((path, schema)) = walk.pop() {
        let object = if schema["type"] == "array" { &schema["items"] } else { schema };
        match object["properties"].as_object() {
            Some(properties) => walk.extend(properties.iter().map(|(key, value)| (format!("{path}.{key}"), value))),
            None => drop(keys.insert(path.trim_start_matches('.').to_owned())),
        }
    }
    keys
}

#[test]
fn the_readme_lists_every_setting() {
    let mut listed = BTreeSet::new();
    for row in table(&read("README.md"), "Settings") {
        let words = quoted(&row[0]);
        // `[[zone]]` `name`, `missing`: the section, and its keys.
        match words[0].strip_prefix('[') {
            Some(section) => {
                let section = section.trim_matches(['[', ']']);
                listed.extend(words[1..].iter().map(|key| format!("{section}.{key}")));
            }
            None => listed.extend(words.iter().map(|key| (*key).to_owned())),
        }
    }
    assert_eq!(listed, keys_of_settings());
}

#[test]
fn the_operations_page_lists_every_route() {
    let mut listed = BTreeSet::new();
    for row in table(&read("docs/operations.md"), "Admin API") {
        for route in quoted(&row[0]) {
            listed.insert(route.split('?').next().unwrap().to_owned());
        }
    }
    let routes = ROUTES.iter().map(|(method, path, _)| format!("{} {path}", method.to_uppercase())).collect();
    assert_eq!(listed, routes);
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = read("Cargo.toml");
    let mut reason = String::new();
    let mut in_dependencies = false;
    let mut without = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies]");
            reason.clear();
        } else if let Some(text) = line.strip_prefix('#') {
            reason += text;
        } else if line.trim().is_empty() {
            reason.clear();
        } else if in_dependencies && line.starts_with(|c: char| c.is_ascii_lowercase()) {
            if reason.split_whitespace().count() < 3 {
                without.push(line.to_owned());
            }
            reason.clear();
        }
    }
    assert!(without.is_empty(), "without a reason of their own: {without:#?}");
}
