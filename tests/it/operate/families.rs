//! A kernel without IPv6: the built-in default does without its wildcard, and one that the settings name is an error.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::namespace;
use super::server::{RECORDS, Scratch, Server, ask};

/// Has `socket` fail as it does with `ipv6.disable=1`.
const NO_IPV6: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>
int socket(int family, int type, int protocol) {
    static int (*real)(int, int, int);
    if (!real) real = dlsym(RTLD_NEXT, "socket");
    if (family == AF_INET6) { errno = EAFNOSUPPORT; return -1; }
    return real(family, type, protocol);
}
"#;

/// A library that takes IPv6 away; none where there is no C compiler.
fn no_ipv6(dir: &Scratch) -> Option<PathBuf> {
    dir.write("no_ipv6.c", NO_IPV6);
    let (source, library) = (dir.path().join("no_ipv6.c"), dir.path().join("no_ipv6.so"));
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl").status();
    built.is_ok_and(|status| status.success()).then_some(library)
}

fn run(library: &Path, dir: &Scratch, command: &str) -> (Option<i32>, String) {
    let mut pldns = Command::new(env!("CARGO_BIN_EXE_pldns"));
    pldns.args([command, "-c"]).arg(dir.path().join("pldns.toml")).env("LD_PRELOAD", library);
    let ran = pldns.output().unwrap();
    (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
}

#[test]
fn a_wildcard_of_a_family_that_the_kernel_lacks_is_an_error_where_it_is_written() {
    let dir = Scratch::new();
    let Some(library) = no_ipv6(&dir) else { return eprintln!("no C compiler: left out") };
    dir.write("pldns.toml", "[listen]\ndns = [\"127.0.0.1:0\", \"[::]:53\"]\nadmin = \"\"\n");
    for command in ["check", "serve"] {
        let (code, said) = run(&library, &dir, command);
        assert_eq!(code, Some(1), "{command}: {said}");
        assert!(
            said.contains("pldns.toml:2:23: error: [::]:53 in `dns`: the kernel of this machine has no IPv6"),
            "{said}"
        );
        assert!(said.contains("hint: remove this address"), "{said}");
    }
    dir.write("pldns.toml", "");
    assert_eq!(run(&library, &dir, "check").0, Some(0));
}

#[test]
fn the_default_does_without_a_family_that_the_kernel_lacks() {
    if let Some(place) = namespace::place() {
        return inside(place);
    }
    let dir = Scratch::new();
    if no_ipv6(&dir).is_none() {
        return eprintln!("no C compiler: left out");
    }
    dir.write("records/r.toml", RECORDS);
    dir.write("pldns.toml", "[process]\nworkers = 2\n[listen]\ndrain = \"0s\"\n");
    namespace::run("operate::families::the_default_does_without_a_family_that_the_kernel_lacks", &dir, "", |_| {});
}

fn inside(place: PathBuf) {
    let library = place.join("no_ipv6.so");
    let mut server = Server::start_in(Arc::new(Scratch::at(place)), |command| {
        command.env("LD_PRELOAD", library);
    });
    let skipped: Vec<_> = server
        .events()
        .into_iter()
        .filter(|event| event["message"].as_str().is_some_and(|said| said.starts_with("not listening")))
        .collect();
    assert_eq!(skipped.len(), 1, "{skipped:#?}");
    assert_eq!((&skipped[0]["address"], &skipped[0]["level"]), (&"[::]:53".into(), &"INFO".into()));
    let dns = ([127, 0, 0, 1], 53).into();
    assert_eq!(ask(dns, "a.example"), Some([10, 0, 0, 1]));
    server.signal(1);
    server.wait_for("reloaded");
    assert_eq!(ask(dns, "a.example"), Some([10, 0, 0, 1]));
    server.stop();
}
