//! What packages, editors and container health checks ask of the binary.

use crate::common::{FakeAzureDns, Scratch, Setup, run};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

#[test]
fn completions_name_every_command_in_every_shell() {
    let scratch = Scratch::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = run(scratch.path(), &["completions", shell]);
        ran.code(0);
        for command in ["serve", "check", "generate", "healthcheck", "completions", "man", "schema"] {
            assert!(ran.out.contains(command), "{shell}: {command}");
        }
    }
    run(scratch.path(), &["completions", "tcsh"]).code(2);
}

#[test]
fn manual_pages_are_written_for_every_command_and_for_the_settings() {
    let scratch = Scratch::new();
    run(scratch.path(), &["man", "share/man"]).code(0);
    let pages: BTreeSet<String> = fs::read_dir(scratch.path().join("share/man"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for page in ["pldns.1", "pldns-serve.1", "pldns-check.1", "pldns-generate.1", "pldns-healthcheck.1", "pldns.toml.5"]
    {
        assert!(pages.contains(page), "{page} in {pages:?}");
    }
    let settings = fs::read_to_string(scratch.path().join("share/man/pldns.toml.5")).unwrap();
    assert!(settings.contains("serve_stale") && settings.contains("queries_per_second"));
    let ran = run(scratch.path(), &["man"]);
    assert_eq!(ran.code(0).out, fs::read_to_string(scratch.path().join("share/man/pldns.1")).unwrap());
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let scratch = Scratch::new();
    scratch.write("taken", "");
    run(scratch.path(), &["man", "taken"]).code(1).err_has("cannot write manual pages to taken");
}

#[test]
fn the_version_names_what_it_was_built_from() {
    let scratch = Scratch::new();
    let long = run(scratch.path(), &["--version"]);
    for fact in [concat!("pldns ", env!("CARGO_PKG_VERSION")), "commit:", "target:", "profile:", "compiler: rustc "] {
        assert!(long.code(0).out.contains(fact), "{fact} in {}", long.out);
    }
    assert_eq!(run(scratch.path(), &["-V"]).out, concat!("pldns ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn the_pod_of_the_chart_may_use_what_its_settings_can_use_at_most() {
    let values = include_str!("../../deploy/helm/pldns/values.yaml");
    let mut lines = values.lines().skip_while(|line| *line != "settings: |").skip(1);
    let settings: Vec<_> =
        lines.by_ref().map_while(|line| if line.is_empty() { Some(line) } else { line.strip_prefix("  ") }).collect();
    let settings = settings.join("\n").replace("/records/*.toml", "records.toml");
    let limits = values.split_once("  limits:\n").unwrap().1;
    let limit: u64 = limits.trim_start().strip_prefix("memory: ").unwrap().split_once("Mi").unwrap().0.parse().unwrap();
    assert!(limit <= 512, "{limit} MiB");
    let scratch = Scratch::new();
    scratch.write("pldns.toml", &settings);
    scratch.write("records.toml", include_str!("../../config/records/workspace.toml"));
    let bound = memory_bound(&run(scratch.path(), &["check", "-c", "pldns.toml"]).code(0).out);
    // Three quarters: the kernel's buffers of sockets count as the pod's.
    assert!(bound <= limit / 4 * 3, "{bound} of {limit} MiB");
}

/// `docker stop` and Compose kill after 10 s, and the image's settings and instructions are what people start with.
#[test]
fn the_image_starts_as_any_command_and_ends_before_it_is_killed() {
    let instructions = include_str!("../../Dockerfile");
    assert!(instructions.contains("\nENTRYPOINT [\"/pldns\"]\nCMD [\"serve\"]\n"));
    assert!(instructions.contains("\nSTOPSIGNAL SIGTERM\n"));
    let settings = include_str!("../../deploy/image/pldns.toml");
    let drain = settings.lines().find_map(|line| line.strip_prefix("drain = \"")?.strip_suffix("s\""));
    let drain: u64 = drain.unwrap().parse().unwrap();
    // What is in flight then has the time that a query may take.
    assert!(drain + 5 <= 10, "{drain} s");
    let scratch = Scratch::new();
    scratch.write("pldns.toml", settings);
    let ran = run(scratch.path(), &["check", "-c", "pldns.toml"]);
    ran.code(0).err_lacks("records");
}

fn memory_bound(said: &str) -> u64 {
    let bound = said.lines().find_map(|line| line.strip_prefix("memory:")?.trim().split(' ').next()?.parse().ok());
    bound.unwrap_or_else(|| panic!("{said}"))
}

#[test]
fn what_waits_is_bounded_by_the_memory_that_the_process_may_use() {
    let scratch = Scratch::new();
    let check = |settings: &str| {
        scratch.write("pldns.toml", settings);
        run(scratch.path(), &["check", "-c", "pldns.toml"])
    };
    let process = "[process]\nworkers = 2\nmax_memory";
    for limit in [256, 300, 512, 1000] {
        let ran = check(&format!("{process} = \"{limit}MiB\"\n"));
        let bound = memory_bound(&ran.code(0).out);
        assert!(bound <= limit && bound + 2 > limit, "{bound} of {limit} MiB");
        assert!(ran.out.contains(&format!("all fits into {limit} MiB, process.max_memory")), "{}", ran.out);
    }
    let ample = check(&format!("{process} = \"64GiB\"\n"));
    assert!(
        ample.code(0).out.contains("4096 connections of clients") && ample.out.contains("cache: 64 MiB"),
        "{}",
        ample.out
    );
    // What the settings name stays, whatever it costs the rest.
    let named =
        check(&format!("{process} = \"400MiB\"\n[cache]\nmax_size = \"100MiB\"\n[listen]\nconnections = 600\n"));
    assert!(
        named.code(0).out.contains("600 connections of clients") && named.out.contains("cache: 100 MiB"),
        "{}",
        named.out
    );
    assert!(memory_bound(&named.out) <= 400);
}

/// A control group with so many bytes of memory, where this machine lets one make one; it goes when it is dropped.
struct Group(std::path::PathBuf);

impl Group {
    fn with_memory(bytes: u64) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let versions =
            [("0::/", "/sys/fs/cgroup", "memory.max"), (":memory:/", "/sys/fs/cgroup/memory", "memory.limit_in_bytes")];
        versions.into_iter().find_map(|(mark, root, file)| {
            let path = own.lines().find_map(|line| line.split_once(mark))?.1;
            let group = Self(std::path::Path::new(root).join(path).join(format!("pldns-test-{}", std::process::id())));
            fs::create_dir(&group.0).ok()?;
            // A file that is not there is not made: the group has no controller of memory then.
            let mut limit = fs::OpenOptions::new().write(true).open(group.0.join(file)).ok()?;
            std::io::Write::write_all(&mut limit, bytes.to_string().as_bytes()).ok()?;
            Some(group)
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn the_default_settings_fit_a_control_group_of_512_mib() {
    let Some(group) = Group::with_memory(512 << 20) else {
        eprintln!("no control group can be made here: the limit is not tested");
        return;
    };
    let scratch = Scratch::new();
    scratch.write("pldns.toml", "[process]\nworkers = 2\n");
    let script = "echo $$ >\"$1/cgroup.procs\" && exec \"$2\" check -c pldns.toml";
    let output = std::process::Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(&group.0)
        .arg(env!("CARGO_BIN_EXE_pldns"))
        .current_dir(scratch.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("all fits into 384 MiB, three quarters of the memory that there is"), "{said}");
    assert!(memory_bound(&said) <= 384, "{said}");
}

#[test]
fn settings_that_need_more_memory_than_they_allow_are_an_error_at_its_place() {
    let scratch = Scratch::new();
    scratch.write("pldns.toml", "[process]\nworkers = 2\nmax_memory = \"300MiB\"\n\n[cache]\nmax_size = \"200MiB\"\n");
    run(scratch.path(), &["check", "-c", "pldns.toml"])
        .code(1)
        .err_has("pldns.toml:3:14: error: `max_memory` is 300 MiB, and these settings need ")
        .err_has("hint: max_memory = \"");
    scratch.write("pldns.toml", "[process]\nmax_memory = \"much\"\n");
    run(scratch.path(), &["check", "-c", "pldns.toml"])
        .code(1)
        .err_has("pldns.toml:2:14: error: `max_memory` is not a size");
}

fn schema(kind: &str) -> Value {
    let scratch = Scratch::new();
    serde_json::from_str(&run(scratch.path(), &["schema", kind]).code(0).out).unwrap()
}

/// The keys of a schema, as in `listen.dns` and `forward.zone`.
fn schema_keys(schema: &Value, path: &str, keys: &mut BTreeSet<String>) {
    let object = if schema["type"] == "array" { &schema["items"] } else { schema };
    match object["properties"].as_object() {
        Some(properties) => {
            assert_eq!(object["additionalProperties"], false, "{path}: unknown keys must be refused");
            for (key, value) in properties {
                schema_keys(value, &format!("{path}.{key}"), keys);
            }
        }
        None => {
            keys.insert(path.trim_start_matches('.').to_owned());
        }
    }
}

/// The keys of a TOML file.
fn toml_keys(value: &toml::Value, path: &str, keys: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            table.iter().for_each(|(key, value)| toml_keys(value, &format!("{path}.{key}"), keys))
        }
        toml::Value::Array(list) if list.iter().any(toml::Value::is_table) => {
            list.iter().for_each(|value| toml_keys(value, path, keys));
        }
        _ => {
            keys.insert(path.trim_start_matches('.').to_owned());
        }
    }
}

#[test]
fn the_schema_of_the_settings_has_exactly_the_keys_of_the_documented_file() {
    // Examples in comments are indented by four more spaces than prose.
    let is_toml = |line: &&str| line.starts_with("[[") || line.starts_with(char::is_lowercase) && line.contains(" = ");
    let uncommented = |line: &str| line.strip_prefix("#     ").filter(is_toml).unwrap_or(line).to_owned() + "\n";
    let text: String = include_str!("../../config/pldns.toml").lines().map(uncommented).collect();
    let mut documented = BTreeSet::new();
    let file: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
    toml_keys(&file.into(), "", &mut documented);
    let mut known = BTreeSet::new();
    schema_keys(&schema("settings"), "", &mut known);
    assert_eq!(known, documented);
}

#[test]
fn the_schema_of_records_has_exactly_the_keys_of_a_record() {
    let mut known = BTreeSet::new();
    schema_keys(&schema("records"), "", &mut known);
    let expected = ["record.clients", "record.data", "record.name", "record.ttl", "record.type"];
    assert_eq!(known, expected.map(str::to_owned).into());
}

#[test]
fn a_healthcheck_tells_a_serving_server_from_one_that_is_gone() {
    let fake = FakeAzureDns::start();
    // The address must be known to the second command: a port that is free now.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = format!("[listen]\nadmin = \"\"\nhealth = \"{free}\"\ndrain = \"0s\"\n\n{}", fake.rule("."));
    let scratch = Scratch::new();
    scratch.write("pldns.toml", &settings);
    let check = || run(scratch.path(), &["healthcheck", "-c", "pldns.toml"]);
    check().code(1).err_has("does not answer");
    let server = Setup::new(&settings, "").start();
    check().code(0);
    // A file that is being edited does not make a healthy server sick.
    scratch.write("pldns.toml", &format!("{settings}\n[nonsense]\n"));
    check().code(0);
    server.stop();
    check().code(1).err_has(&format!("http://{free}/healthz does not answer"));
}

#[test]
fn a_healthcheck_without_a_listener_to_ask_says_so() {
    let scratch = Scratch::new();
    scratch.write("pldns.toml", "[listen]\nadmin = \"\"\n");
    run(scratch.path(), &["healthcheck", "-c", "pldns.toml"])
        .code(1)
        .err_has("neither `listen.health` nor `listen.admin`");
    run(scratch.path(), &["healthcheck", "-c", "missing.toml"]).code(1).err_has("missing.toml");
}

/// The actions of a role that a text has, one in a line.
fn actions(path: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let lines = text.lines().map(|line| line.trim().trim_matches(['"', '\'', ',']));
    let is_action = |line: &&str| line.starts_with("Microsoft.") && line.ends_with("/read");
    lines.filter(is_action).map(str::to_owned).collect()
}

#[test]
fn the_role_of_discovery_is_the_same_in_the_documentation_terraform_and_bicep() {
    let documented = actions("docs/operations.md");
    assert_eq!(documented.len(), 8, "{documented:?}");
    for path in ["deploy/terraform/main.tf", "deploy/bicep/discover.bicep"] {
        let sorted = |mut list: Vec<String>| {
            list.sort();
            list
        };
        assert_eq!(sorted(actions(path)), sorted(documented.clone()), "{path}");
    }
}
