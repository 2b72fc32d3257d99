//! The formats of the command line: what they cannot express is named on standard error.

use super::{Run, text_of};
use crate::common::Scratch;

const WORKSPACE: [&str; 3] = ["config/metadata/workspace.json", "--compute-instance", "ci1"];

fn run(format: &str, options: &[&str]) -> Run {
    Run::new(&[&WORKSPACE[..], &["--format", format], options].concat(), b"")
}

#[test]
fn every_format_gives_the_api_address() {
    for format in
        ["toml", "hosts", "zone", "unbound", "bind", "dnsmasq", "coredns", "powershell", "azure-cli", "terraform"]
    {
        let run = run(format, &[]);
        assert_eq!(run.code, Some(0), "{format}: {}", run.err);
        assert!(run.out.contains("fb7e20a0-8891-458b-b969-55ddb3382f51.workspace.eastus.api.azureml.ms"), "{format}");
        assert!(run.out.contains("10.1.0.5"), "{format}");
        let is_named = run.err.contains("ci1-*.eastus.instances.ml.azure.ms A") && run.err.contains("partial wildcard");
        assert_eq!(is_named, !["toml", "coredns"].contains(&format), "{format}: {}", run.err);
    }
}

#[test]
fn views_are_left_out_and_an_empty_file_is_never_written() {
    let dir = Scratch::new();
    let file = dir.write("hosts", "old");
    let run = run("hosts", &["--clients", "10.0.0.0/8", "-o", &file]);
    run.fails_with(&["certain client networks", "no record can be written in the format hosts"]);
    assert_eq!(text_of(&file), "old");
}

#[test]
fn a_zone_file_is_read_back_by_the_command_itself() {
    let zone = run("zone", &["--no-regional-wildcard"]);
    let again = Run::new(&["-"], zone.out.as_bytes());
    let mut expected = Run::new(&[&WORKSPACE[..], &["--no-regional-wildcard"]].concat(), b"").records();
    // A partial wildcard is not in the zone file; reading it back, the command derives those of notebooks again.
    expected.retain(|(name, _), _| !name.starts_with("ci1-*"));
    assert_eq!(
        again
            .records()
            .into_iter()
            .filter(|((name, _), _)| name != "*.eastus.inference.ml.azure.com")
            .collect::<super::Records>(),
        expected
    );
}
