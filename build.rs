//! Facts for `pldns --version`: the commit, the compiler and the target of a release build.
//!
//! A development build has no commit: asking for it would build everything again after each commit.
//!
//! And the OpenAPI document as it is served: without the spaces between its parts, which are more than half of it.

#![expect(clippy::disallowed_methods, reason = "a build script reads files")]

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PLDNS_COMMIT");
    let var = |name: &str| env::var(name).unwrap_or_default();
    let is_release = var("PROFILE") == "release";
    let commit = match env::var("PLDNS_COMMIT") {
        Ok(commit) => commit,
        Err(_) if is_release => commit().unwrap_or_else(|| "unknown".to_owned()),
        Err(_) => "development build".to_owned(),
    };
    let rustc = output(&var("RUSTC"), &["--version"]).unwrap_or_else(|| "unknown compiler".to_owned());
    let (target, profile) = (var("TARGET"), var("PROFILE"));
    println!("cargo::rustc-env=PLDNS_BUILD_COMMIT={commit}");
    println!("cargo::rustc-env=PLDNS_BUILD_TARGET={target}");
    println!("cargo::rustc-env=PLDNS_BUILD_PROFILE={profile}");
    println!("cargo::rustc-env=PLDNS_BUILD_RUSTC={rustc}");

    let source = "src/admin/openapi.json";
    println!("cargo::rerun-if-changed={source}");
    let compact = compact_json(&fs::read_to_string(source).expect(source));
    fs::write(Path::new(&var("OUT_DIR")).join("openapi.json"), compact).expect("OUT_DIR can be written");
}

/// JSON without the white space between its tokens.
fn compact_json(text: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let keep = |&character: &char| {
        let kept = quoted || !character.is_ascii_whitespace();
        match character {
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = character == '\\' && !escaped;
        kept
    };
    text.chars().filter(keep).collect()
}

/// The commit of the checkout, with `-dirty` where tracked files differ from it; `None` outside of one.
fn commit() -> Option<String> {
    // A new commit changes the log of HEAD, on whatever branch.
    let log = output("git", &["rev-parse", "--git-path", "logs/HEAD"])?;
    println!("cargo::rerun-if-changed={log}");
    output("git", &["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
}

/// The first line that a program prints; `None` where it fails.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    let line = String::from_utf8(output.stdout).ok()?.lines().next()?.trim().to_owned();
    Some(line).filter(|line| !line.is_empty())
}
