//! `pldns check`: each problem with its place, the line and a hint, all in one go; what `serve` refuses, no more, no less.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use crate::common::cast::{RECORDS, record, record_with};
use crate::common::command::{Ran, run, run_without_override};
use crate::common::{FakeAzureDns, Scratch};

const HEAD: &str = "[listen]\ndns = [\"127.0.0.1:0\"]\nadmin = \"\"\n\n[records]\nfiles = [\"records/*.toml\"]\n\n";

struct Checked {
    dir: Scratch,
    ran: Ran,
}

fn check_files(files: &[(&str, &str)]) -> Checked {
    let dir = Scratch::new();
    for (file, text) in files {
        dir.write(file, text);
    }
    let ran = run(dir.path(), &["check", "-c", "pldns.toml"]);
    Checked { dir, ran }
}

/// Settings behind the usual head, and one file of records.
fn check(settings: &str, records: &str) -> Checked {
    let records = if records.is_empty() { "# no records\n" } else { records };
    check_files(&[("pldns.toml", &format!("{HEAD}{settings}")), ("records/a.toml", records)])
}

impl Checked {
    #[track_caller]
    fn good(&self) -> &Self {
        self.ran.code(0);
        self
    }

    /// Refused by `check`, and by `serve` in the same words.
    #[track_caller]
    fn bad(&self) -> &Self {
        self.ran.code(1);
        let served = run(self.dir.path(), &["serve", "-c", "pldns.toml"]);
        served.code(1);
        self
    }

    /// A problem at `file:line:`, with a column, the line itself shown.
    #[track_caller]
    fn at(&self, file: &str, text: &str) -> &Self {
        if let Some(lack) = self.lacks(file, text) {
            panic!("{lack}");
        }
        self
    }

    /// What is not as it must be for a problem in the line of `file` that holds `text`.
    fn lacks(&self, file: &str, text: &str) -> Option<String> {
        let source = std::fs::read_to_string(self.dir.path().join(file)).unwrap();
        let (index, line) =
            source.lines().enumerate().find(|(_, line)| line.contains(text)).expect("the text is in the file");
        let place = format!("{file}:{}:", index + 1);
        let err = &self.ran.err;
        let rest = err.split(&place).nth(1).unwrap_or_default();
        let column = rest.starts_with(|c: char| c.is_ascii_digit());
        let good = self.ran.code == Some(1) && column && err.contains(line.trim());
        (!good).then(|| format!("{place}COLUMN and the line expected, exit code {:?}\n--- err\n{err}", self.ran.code))
    }

    #[track_caller]
    fn warns(&self, about: &str) -> &Self {
        self.good();
        let said = format!("{}{}", self.ran.out, self.ran.err);
        assert!(
            said.lines().any(|line| line.to_ascii_lowercase().contains("warning")) && said.contains(about),
            "a warning about {about} expected\n--- out\n{}--- err\n{}",
            self.ran.out,
            self.ran.err
        );
        self
    }

    #[track_caller]
    fn warns_of_nothing(&self) -> &Self {
        self.good();
        let said = format!("{}{}", self.ran.out, self.ran.err).to_ascii_lowercase();
        assert!(!said.contains("warning:"), "no warning expected\n{said}");
        self
    }
}

#[test]
fn good_settings_are_summed_up() {
    let settings = "[[zone]]\nname = \"corp.example\"\nmissing = \"nxdomain\"\n\n\
        [[forward]]\nzone = \".\"\nupstreams = [\"168.63.129.16\"]\n\n\
        [[forward]]\nzone = \"lab.example\"\nupstreams = [\"10.0.0.4\", \"10.0.0.5:5353\"]\n";
    let checked = check(settings, RECORDS);
    checked.good().warns_of_nothing();
    let said = format!("{}{}", checked.ran.out, checked.ran.err).to_ascii_lowercase();
    let said: Vec<&str> = said.split_whitespace().collect();
    let said = said.join(" ");
    for count in ["records: 5", "zones: 1", "rules: 2", "127.0.0.1:0"] {
        assert!(said.contains(count), "{count:?} in the summary: {said}");
    }
}

#[test]
fn an_empty_file_is_good() {
    check_files(&[("pldns.toml", "")]).good();
}

#[test]
fn every_key_of_the_contract_is_known() {
    let settings = r#"
[listen]
dns    = ["0.0.0.0:53", "[::]:53"]
admin  = ""

[records]
files = ["records/*.toml"]
ttl   = "10s"

[[zone]]
name    = "privatelink.api.azureml.ms"
missing = "forward"

[[forward]]
zone      = "."
upstreams = ["168.63.129.16"]

[[upstream]]
address = "168.63.129.16"
ports   = "fresh"

[access]
allow = ["10.0.0.0/8", "fc00::/7"]
"#;
    check_files(&[("pldns.toml", settings), ("records/a.toml", RECORDS)]).good();
}

#[test]
fn records_that_cannot_be_read_are_errors_and_not_an_empty_table() {
    let good = record("a.example", "A", &["10.0.0.1"]);
    let checked = check_files(&[("pldns.toml", HEAD), ("records/a.toml", &good), ("records/b.toml", "")]);
    checked.bad().ran.err_has("records/b.toml: error: the file is empty (zero bytes)").err_has("1 error, 0 warnings");
    for (files, said) in [
        ("gone/*.toml", "gone does not exist"),
        ("records/gone.toml", "records/gone.toml does not exist"),
        ("records", "records is a directory"),
        ("records/", "records/ is a directory"),
        ("records/[a.toml", "not a valid glob"),
    ] {
        let settings = HEAD.replace("records/*.toml", files);
        let checked = check_files(&[("pldns.toml", &settings), ("records/a.toml", &good)]);
        checked.bad().at("pldns.toml", &format!("\"{files}\"")).ran.err_has(said);
        if said.contains("is a directory") {
            checked.ran.err_has("hint: files = [\"records/*.toml\"]");
        }
    }
    // Where the settings name nothing, there need not be anything.
    check_files(&[("pldns.toml", "[listen]\nadmin = \"\"\n")]).warns_of_nothing();
}

#[test]
fn permission_that_is_missing_is_named_with_its_path() {
    let good = record("a.example", "A", &["10.0.0.1"]);
    let settings = HEAD.replace("dns = [\"127.0.0.1:0\"]", "dns = [\"127.0.0.1:0\"]\ndrain = \"0s\"");
    let default = settings.replace("files = [\"records/*.toml\"]", "");
    for (settings, closed, mode, said) in [
        (&settings, "records", 0o000, "records cannot be read: Permission denied"),
        (&default, "records", 0o000, "records cannot be read: Permission denied"),
        (&settings, "records", 0o400, "records/a.toml cannot be read: Permission denied"),
        (&settings, "records/a.toml", 0o000, "records/a.toml: error: cannot be read: Permission denied"),
    ] {
        let dir = Scratch::new();
        dir.write("pldns.toml", settings);
        dir.write("records/a.toml", &good);
        let set_mode = |mode| std::fs::set_permissions(dir.path().join(closed), Permissions::from_mode(mode)).unwrap();
        set_mode(mode);
        let ran = ["check", "serve"].map(|command| run_without_override(dir.path(), &[command, "-c", "pldns.toml"]));
        // So that it can be removed.
        set_mode(0o755);
        for ran in ran {
            ran.code(1).err_has(said).err_has("permission (r");
        }
    }
}

#[test]
fn an_unknown_key_is_an_error_with_line_and_column() {
    for (text, line) in [
        ("[listen]\nadmin = \"\"\nadmim = \"\"\n", "admim = \"\""),
        ("[[forward]]\nzone = \".\"\nupstream = [\"10.0.0.4\"]\n", "upstream = [\"10.0.0.4\"]"),
        ("[[zone]]\nname = \"a.example\"\nmising = \"forward\"\n", "mising = \"forward\""),
        ("[access]\nallowed = []\n", "allowed = []"),
        ("[recrods]\nfiles = []\n", "[recrods]"),
    ] {
        let checked = check_files(&[("pldns.toml", text)]);
        checked.bad().at("pldns.toml", line);
    }
    let checked = check_files(&[("pldns.toml", "[listen]\nadmim = \"\"\n")]);
    checked.ran.err_has("pldns.toml:2:1");
    // The hint leads to the right word.
    checked.ran.err_has("admin");
    check("", "[[record]]\nname = \"a.example\"\ntype = \"A\"\ndata = \"10.0.0.1\"\ntll = \"5s\"\n")
        .bad()
        .at("records/a.toml", "tll");
}

#[test]
fn toml_that_is_none_is_shown_where_it_breaks() {
    check_files(&[("pldns.toml", "[listen]\nadmin = \n")]).bad().at("pldns.toml", "admin =");
    check("", "[[record]]\nname = \"a.example\ntype = \"A\"\n").bad().at("records/a.toml", "a.example");
    check_files(&[("pldns.toml", "[listen]\nadmin = \"\"\nadmin = \"\"\n")]).bad().ran.err_has("pldns.toml:3:1");
}

#[test]
fn all_problems_are_reported_in_one_go() {
    let settings = "[[zone]]\nname = \"corp.example\"\nmissing = \"perhaps\"\n\n\
        [[forward]]\nzone = \".\"\nupstreams = [\"10.0.0.4.5\"]\n\n\
        [access]\nallow = [\"10.0.0.0/8\", \"10.1.0.0/33\"]\n";
    let records = record("a.example", "A", &["10.0.0.999"])
        + &record("b.example", "NOSUCHTYPE", &["x"])
        + &record("c.example", "AAAA", &["fd00::zz"]);
    let checked = check(settings, &records);
    checked
        .bad()
        .at("pldns.toml", "perhaps")
        .at("pldns.toml", "10.0.0.4.5")
        .at("pldns.toml", "10.1.0.0/33")
        .at("records/a.toml", "10.0.0.999")
        .at("records/a.toml", "NOSUCHTYPE")
        .at("records/a.toml", "fd00::zz");
}

#[test]
fn values_that_cannot_be_are_errors() {
    let mut problems = Vec::new();
    for (settings, text) in [
        ("[[forward]]\nzone = \"a..example\"\nupstreams = [\"10.0.0.4\"]\n", "a..example"),
        ("[[forward]]\nzone = \".\"\nupstreams = []\n", "upstreams = []"),
        ("[[forward]]\nzone = \".\"\nupstreams = [\"ftp://10.0.0.4\"]\n", "ftp://"),
        ("[[forward]]\nzone = \".\"\nupstreams = [\"10.0.0.4:99999\"]\n", "99999"),
        ("[[zone]]\nname = \"\"\nmissing = \"forward\"\n", "name = \"\""),
        ("[access]\nallow = [\"everybody\"]\n", "everybody"),
    ] {
        problems.extend(check(settings, "").lacks("pldns.toml", text));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    check_files(&[("pldns.toml", "[listen]\ndns = [\"localhost\"]\nadmin = \"\"\n")])
        .bad()
        .at("pldns.toml", "localhost");
    check_files(&[("pldns.toml", "[records]\nttl = \"soon\"\n")]).bad().at("pldns.toml", "soon");
}

#[test]
fn records_that_cannot_be_are_errors() {
    let mut problems = Vec::new();
    let long_label = "x".repeat(64);
    let long_name = ["abcdefghi"; 27].join(".");
    for (records, text) in [
        (record("", "A", &["10.0.0.1"]), "name = ''"),
        (record("a..example", "A", &["10.0.0.1"]), "a..example"),
        (record(&format!("{long_label}.example"), "A", &["10.0.0.1"]), "xxx"),
        (record(&long_name, "A", &["10.0.0.1"]), "abcdefghi"),
        (record("a.example", "A", &["fd00::1"]), "fd00::1"),
        (record("a.example", "AAAA", &["10.0.0.1"]), "10.0.0.1"),
        (record("a.example", "MX", &["mail.example."]), "mail.example."),
        (record("a.example", "TYPE65280", &[r"\# 3 abcd"]), "abcd"),
        (record("a.example", "A", &[]), "data = []"),
        (record("a.example", "ANY", &["x"]), "ANY"),
        (record("a.example", "OPT", &["x"]), "OPT"),
        (record("a.example", "AXFR", &["x"]), "AXFR"),
        (record_with("a.example", "A", &["10.0.0.1"], "ttl = \"long\""), "long"),
        (record_with("a.example", "A", &["10.0.0.1"], "clients = [\"10.0.0.0/40\"]"), "10.0.0.0/40"),
        ("[[record]]\nname = \"a.example\"\ntype = \"A\"\n".to_owned(), "[[record]]"),
        ("[[record]]\ntype = \"A\"\ndata = \"10.0.0.1\"\n".to_owned(), "[[record]]"),
    ] {
        problems.extend(check("", &records).lacks("records/a.toml", text));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn look_alike_letters_in_names_are_named() {
    // A Cyrillic letter, a full-width dot, a zero-width joiner.
    for name in ["\u{430}cct.example", "acct\u{3002}example", "acct\u{200d}.example"] {
        let checked = check("", &record(name, "A", &["10.0.0.1"]));
        checked.bad();
        let odd = name.chars().find(|c| !c.is_ascii()).unwrap();
        checked.ran.err_has(&format!("U+{:04X}", odd as u32));
    }
}

#[test]
fn the_same_record_twice_is_fine_and_different_data_names_both_places() {
    let one = record("a.example", "A", &["10.0.0.1"]);
    let two = "\n\n".to_owned() + &record("A.example", "A", &["10.0.0.2"]);
    let head = format!("{HEAD}[[forward]]\nzone = \".\"\nupstreams = [\"10.0.0.4\"]\n");
    check_files(&[("pldns.toml", &head), ("records/a.toml", &one), ("records/b.toml", &("\n\n".to_owned() + &one))])
        .good();
    let checked = check_files(&[("pldns.toml", &head), ("records/a.toml", &one), ("records/b.toml", &two)]);
    checked.bad();
    checked.ran.err_has("records/a.toml:").err_has("records/b.toml:");
    // The order of data does not make it different.
    let forth = record("a.example", "A", &["10.0.0.1", "10.0.0.2"]);
    let back = record("a.example", "A", &["10.0.0.2", "10.0.0.1"]);
    check_files(&[("pldns.toml", &head), ("records/a.toml", &forth), ("records/b.toml", &back)]).good();
    // In other clients' view it is no conflict.
    let view = record_with("a.example", "A", &["10.0.0.2"], "clients = [\"10.2.0.0/16\"]");
    check_files(&[("pldns.toml", &head), ("records/a.toml", &one), ("records/b.toml", &view)]).good();
}

#[test]
fn an_alias_stands_alone() {
    let alias = record("a.example", "CNAME", &["b.example."]);
    for other in [
        record("a.example", "A", &["10.0.0.1"]),
        record("a.example", "CNAME", &["c.example."]),
        record("A.EXAMPLE", "TXT", &[r#""x""#]),
    ] {
        let checked = check("", &(alias.clone() + &other));
        checked.bad();
        let places = checked.ran.err.matches("records/a.toml:").count();
        assert!(places >= 2, "both places are named: {}", checked.ran.err);
    }
    check("", &(alias + &record("b.example", "CNAME", &["c.example."]))).good();
}

#[test]
fn a_whole_zone_claimed_is_warned_about() {
    for name in ["blob.core.windows.net", "api.azureml.ms", "vault.azure.net", "azurecr.io"] {
        let checked = check(&format!("[[zone]]\nname = \"{name}\"\nmissing = \"nxdomain\"\n"), "");
        checked.warns(&format!("{name} would make this server authoritative for a public zone"));
        checked.ran.err_has("hint: missing = \"forward\"\n");
        check(&format!("[[zone]]\nname = \"{name}\"\nmissing = \"forward\"\n"), "").warns_of_nothing();
    }
    for name in ["privatelink.blob.core.windows.net", "privatelink-global.wvd.microsoft.com"] {
        check(&format!("[[zone]]\nname = \"{name}\"\nmissing = \"nxdomain\"\n"), "").warns("endpoints of others");
    }
    // A zone of one's own.
    check("[[zone]]\nname = \"corp.example\"\nmissing = \"nxdomain\"\n", "").warns_of_nothing();
}

#[test]
fn listeners_that_take_each_others_port_are_errors_that_name_both_places() {
    let overlaps = [
        ("dns = [\"127.0.0.1:17253\", \"0.0.0.0:17253\"]\nadmin = \"\"", "pldns.toml:2:8", 2),
        ("dns = [\"[::1]:17253\", \"[::]:17253\"]\nadmin = \"\"", "pldns.toml:2:8", 2),
        ("dns = \"127.0.0.1:17253\"\nadmin = \"127.0.0.1:17253\"", "pldns.toml:2:7", 3),
        ("dns = \"0.0.0.0:17253\"\nadmin = \"\"\nhealth = \"127.0.0.1:17253\"", "pldns.toml:2:7", 4),
        ("dns = []\nadmin = \"127.0.0.1:17253\"\nhealth = \"0.0.0.0:17253\"", "pldns.toml:3:9", 4),
    ];
    for (listen, other, line) in overlaps {
        let checked = check_files(&[("pldns.toml", &format!("[listen]\n{listen}\n"))]);
        checked.bad().ran.err_has(other).err_has(&format!("pldns.toml:{line}:")).err_has("are the same port");
    }
    for beside in ["[\"127.0.0.1:17253\", \"127.0.0.2:17253\"]", "[\"127.0.0.1:0\", \"0.0.0.0:0\"]"] {
        let text = format!("[listen]\ndns = {beside}\nadmin = \"127.0.0.1:17254\"\nhealth = \"127.0.0.2:17254\"\n");
        check_files(&[("pldns.toml", &text)]).warns_of_nothing();
    }
    let twice = "[listen]\ndns = [\"127.0.0.1:17253\", \"127.0.0.1:17253\"]\nadmin = \"\"\n";
    check_files(&[("pldns.toml", twice)]).warns("127.0.0.1:17253 is in `dns` twice");
    let default = "[listen]\ndns = \"127.0.0.1:8053\"\n";
    check_files(&[("pldns.toml", default)]).warns("there will be no admin listener");
    // TEST-NET-1: nobody has it.
    let foreign = "[listen]\ndns = \"192.0.2.1:17253\"\nadmin = \"\"\n";
    check_files(&[("pldns.toml", foreign)]).warns("this machine has no such address");
}

#[test]
fn a_token_that_cannot_be_used_is_an_error() {
    let settings = "[listen]\ndns = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[admin]\ntoken_file = \"token\"\n";
    for token in ["", "\n", "two words\n", "caf\u{e9}\n"] {
        let checked = check_files(&[("pldns.toml", settings), ("token", token)]);
        checked.bad().at("pldns.toml", "token_file").ran.err_has("one line of printable ASCII");
    }
    check_files(&[("pldns.toml", settings)]).bad().at("pldns.toml", "token_file").ran.err_has("No such file");
    check_files(&[("pldns.toml", settings), ("token", "a1b2c3\n")]).warns_of_nothing();
}

#[test]
fn settings_that_do_what_nobody_wants_are_warned_about() {
    let rule = |upstreams: &str| format!("[[forward]]\nzone = \".\"\nupstreams = [{upstreams}]\n");
    for (settings, said) in [
        ("[access]\nallow = []\n".to_owned(), "every query is refused"),
        ("[access]\nallow = [\"10.0.0.0/8\", \"0.0.0.0/0\"]\n".to_owned(), "0.0.0.0/0 lets every host in"),
        ("[access]\nallow = [\"::/0\"]\n".to_owned(), "::/0 lets every host in"),
        (rule("\"10.0.0.4\", \"10.0.0.4:53\""), "10.0.0.4:53 is in this rule twice"),
        (rule("\"168.63.129.16\", \"10.0.0.4\""), "Azure DNS and 10.0.0.4:53 in one rule"),
        (rule("\"10.0.0.4\"") + "[[upstream]]\naddress = \"10.0.0.5\"\n", "no rule names the upstream 10.0.0.5:53"),
        (
            rule("\"10.0.0.4\"") + &"[[upstream]]\naddress = \"10.0.0.4\"\n".repeat(2),
            "the upstream 10.0.0.4:53 is defined twice",
        ),
        ("[cache]\nmax_size = \"65536GiB\"\n".to_owned(), "the cache may grow to 67108864 MiB"),
    ] {
        let checked = check(&settings, "");
        checked.warns(said);
        checked.ran.err_has("pldns.toml: 0 errors, 1 warning\n");
    }
    let fine = rule("\"10.0.0.4\", \"10.0.0.4:5353\"") + "[[upstream]]\naddress = \"10.0.0.4\"\n";
    check(&fine, "").warns_of_nothing().ran.err_has("pldns.toml: no problems\n");
}

#[test]
fn a_reverse_zone_may_be_written_as_a_prefix() {
    let settings = "[[forward]]\nzone = \"10.1.0.0/16\"\nupstreams = [\"10.0.0.4\"]\n\n\
        [[zone]]\nname = \"172.16.0.0/12\"\nmissing = \"nxdomain\"\n";
    let checked = check(settings, "");
    checked.warns_of_nothing();
    assert!(checked.ran.out.contains("1.10.in-addr.arpa -> 10.0.0.4:53"), "{}", checked.ran.out);
    assert!(checked.ran.out.contains("zones:     16\n"), "{}", checked.ran.out);
    check("[[zone]]\nname = \"10.1.2.3/16\"\n", "").bad().at("pldns.toml", "10.1.2.3/16").ran.err_has("10.1.0.0/16");
    check("[[zone]]\nname = \"10.1.2.3\"\n", "").bad().at("pldns.toml", "10.1.2.3").ran.err_has("10.1.2.3/32");
    let twice = "[[zone]]\nname = \"10.0.0.0/8\"\n[[zone]]\nname = \"10.in-addr.arpa\"\n";
    check(twice, "").bad().ran.err_has("zone 10.in-addr.arpa is defined twice");
}

#[test]
fn hints_are_what_may_be_written_instead() {
    for (settings, hint) in [
        ("[forward]\nzone = \".\"\n", "hint: [[forward]]\n"),
        ("[records]\nttl = 10\n", "hint: ttl = \"10s\"\n"),
        ("[cache]\nmax_size = 64\n", "hint: max_size = \"64MiB\"\n"),
        ("[cache]\nserve_stale = 86400\n", "hint: serve_stale = \"86400s\"\n"),
        ("[process]\nworkers = \"2\"\n", "hint: workers = 0\n"),
        ("[process]\nworkers = -1\n", "must be a whole number from 0 to 1024, not -1\n"),
        ("[process]\nconfine = 1\n", "hint: confine = true\n"),
        ("[[upstream]]\naddress = \"168.63.129.16\"\npending = \"x\"\n", "hint: pending = 180\n"),
        ("[log]\nlevel = \"inf\"\n", "hint: did you mean \"info\"?\n"),
        ("[listen]\ndns = 53\n", "hint: dns = \"53\"\n"),
    ] {
        check_files(&[("pldns.toml", settings)]).bad().ran.err_has(hint);
    }
    let dir = Scratch::new();
    run(dir.path(), &["serve", "--listen", "127.0.0.1"]).code(2).err_has("hint: \"127.0.0.1:53\"");
    std::fs::create_dir(dir.path().join("pldns.toml")).unwrap();
    run(dir.path(), &["check", "-c", "pldns.toml"]).code(1).err_has("hint: this is a directory");
}

#[test]
fn admin_and_health_listeners_are_listed() {
    let text = "[listen]\ndns = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:17253\"\nhealth = \"127.0.0.1:17254\"\n";
    let checked = check_files(&[("pldns.toml", text)]);
    checked.good();
    for listed in ["127.0.0.1:0 (UDP and TCP)", "127.0.0.1:17253 (admin)", "127.0.0.1:17254 (health)"] {
        assert!(checked.ran.out.contains(listed), "{listed}: {}", checked.ran.out);
    }
}

#[test]
fn an_upstream_that_is_this_server_is_warned_about() {
    let text = "[listen]\ndns = [\"127.0.0.1:5301\"]\nadmin = \"\"\n\n\
        [[forward]]\nzone = \".\"\nupstreams = [\"127.0.0.1:5301\"]\n";
    check_files(&[("pldns.toml", text)]).warns("127.0.0.1:5301");
    let wildcard = "[listen]\ndns = [\"0.0.0.0:5301\"]\nadmin = \"\"\n\n\
        [[forward]]\nzone = \"x.example\"\nupstreams = [\"127.0.0.1:5301\"]\n";
    check_files(&[("pldns.toml", wildcard)]).warns("127.0.0.1:5301");
}

#[test]
fn a_rule_for_a_privatelink_zone_is_as_good_as_any_other() {
    // CNAME chains reach it, and nodes of AKS private clusters ask for names in theirs.
    for zone in ["privatelink.blob.core.windows.net", "privatelink.api.azureml.ms", "privatelink.westeurope.azmk8s.io"]
    {
        check(&format!("[[forward]]\nzone = \"{zone}\"\nupstreams = [\"10.0.0.4\"]\n"), "").warns_of_nothing();
    }
}

#[test]
fn a_file_that_is_not_there_is_the_inputs_fault() {
    let dir = Scratch::new();
    for command in ["check", "serve"] {
        run(dir.path(), &[command, "-c", "nowhere.toml"]).code(1).err_has("nowhere.toml");
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let dir = Scratch::new();
    for arguments in
        [&["no-such-command"][..], &["check", "--no-such-flag"], &["serve", "--listen"], &["check", "a", "b"]]
    {
        run(dir.path(), arguments).code(2);
    }
    run(dir.path(), &["--help"]).code(0).err_lacks("error");
    run(dir.path(), &["--version"]).code(0);
}

#[test]
fn a_port_that_is_taken_ends_serve_with_1() {
    let fake = FakeAzureDns::start();
    let dir = Scratch::new();
    dir.write("pldns.toml", "[listen]\nadmin = \"\"\n");
    let address = fake.address().to_string();
    run(dir.path(), &["serve", "-c", "pldns.toml", "--listen", &address]).code(1).err_has(&address);
}

#[test]
fn what_is_printed_is_escaped() {
    let text = "[[record]]\nname = \"a\\u001b[31m\\u0007.example\"\ntype = \"A\"\ndata = \"10.0.0.1\"\n\n\
        [[record]]\nname = \"b.example\"\ntype = \"A\\u001b[31m\"\ndata = \"10.0.0.1\"\n";
    let checked = check("", text);
    let said = format!("{}{}", checked.ran.out, checked.ran.err);
    assert!(!said.contains(['\u{1b}', '\u{7}']), "control characters are printed: {said:?}");
    checked.bad();
}
