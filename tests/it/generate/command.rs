//! The command itself: inputs, encodings, outputs, exit codes.

use serde_json::json;

use super::{Run, read_back, text_of};
use crate::common::Scratch;

const INPUT: &str = r#"[{"FQDNs": ["a.blob.core.windows.net"], "IPAddress": "10.0.0.4"}]"#;

#[test]
fn standard_input_and_files_give_the_same_records() {
    let dir = Scratch::new();
    let file = dir.write("in.json", INPUT);
    let from_file = Run::new(&[&file], b"").records();
    assert_eq!(from_file.len(), 2);
    assert_eq!(Run::new(&[], INPUT.as_bytes()).records(), from_file);
    assert_eq!(Run::new(&["-"], INPUT.as_bytes()).records(), from_file);
    let more = r#"[{"FQDNs": ["b.blob.core.windows.net"], "IPAddress": "10.0.0.5"}]"#;
    assert_eq!(Run::new(&[&file, "-"], more.as_bytes()).records().len(), 4);
}

#[test]
fn documents_follow_each_other_in_any_encoding() {
    let text = format!("{INPUT}\n{{\"fqdn\": \"b.blob.core.windows.net\", \"ipAddresses\": [\"10.0.0.5\"]}}{INPUT}");
    let utf16: Vec<u8> = [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let marked = format!("\u{FEFF}{text}");
    for bytes in [text.as_bytes(), &utf16, marked.as_bytes()] {
        assert_eq!(Run::new(&[], bytes).records().len(), 4);
    }
    let broken = format!("{INPUT}\n{INPUT}\n{{\"fqdn\": \n}}");
    Run::new(&[], broken.as_bytes()).fails_with(&["standard input:4:1", "not JSON"]);
    let second = format!("{INPUT} [{{\"FQDNs\": [\"x y.z\"], \"IPAddress\": \"10.0.0.4\"}}]");
    Run::new(&[], second.as_bytes()).fails_with(&["standard input, document 2, $[0].FQDNs[0]"]);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let dir = Scratch::new();
    let other = Scratch::new();
    let paths = ["x.json", "y.json"].map(|name| (dir.write(name, INPUT), other.write(name, INPUT)));
    let first = Run::new(&[&paths[0].0, &paths[1].0], b"");
    let again = Run::new(&[&paths[1].1, &paths[0].1], b"");
    assert_eq!(first.out, again.out);
    assert!(first.out.contains("#   x.json: ") && first.out.contains("#   y.json: "), "{}", first.out);
    assert!(!first.out.contains(&*dir.path().to_string_lossy()), "no path of this machine stands in the file");
}

#[test]
fn an_output_file_is_replaced_as_a_whole_or_not_at_all() {
    let dir = Scratch::new();
    let file = dir.path_of("records.toml");
    let run = Run::new(&["-o", &file], INPUT.as_bytes());
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (Some(0), "", ""));
    let written = text_of(&file);
    assert_eq!(written, Run::new(&[], INPUT.as_bytes()).out);

    Run::new(&["-o", &file], b"{}").fails_with(&["no record"]);
    assert_eq!(text_of(&file), written, "a failed run leaves the old file");
    let other = json!([{"FQDNs": ["b.blob.core.windows.net"], "IPAddress": "10.0.0.5"}]).to_string();
    assert_eq!(Run::new(&["--output", &file], other.as_bytes()).code, Some(0));
    let names = read_back(&text_of(&file));
    assert!(names.keys().all(|(name, _)| name.starts_with("b.")), "{names:?}");
    assert_eq!(dir.names().into_iter().collect::<Vec<_>>(), ["records.toml"], "nothing is left beside it");

    let nowhere = dir.path_of("no/such/directory/x.toml");
    let run = Run::new(&["-o", &nowhere], INPUT.as_bytes());
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("cannot write"), "{}", run.err);
    assert_eq!(Run::new(&["-o", "-"], INPUT.as_bytes()).out, written);
}

#[cfg(unix)]
#[test]
fn links_and_permissions_of_the_output_stay() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Scratch::new();
    let file = dir.write("real.toml", "old");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let link = dir.path_of("link.toml");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    assert_eq!(Run::new(&["-o", &link], INPUT.as_bytes()).code, Some(0));
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(read_back(&text_of(&file)).len(), 2);
    assert_eq!(Run::new(&["-o", "/dev/null"], INPUT.as_bytes()).code, Some(0));
}

#[test]
fn inputs_that_cannot_be_read_are_all_named() {
    let dir = Scratch::new();
    let (one, two) = (dir.path_of("one.json"), dir.path_of("two.json"));
    Run::new(&[&one, &two], b"").fails_with(&["one.json: error: cannot read", "two.json: error: cannot read"]);
    Run::new(&[dir.path().to_str().unwrap()], b"").fails_with(&["cannot read this file"]);
    Run::new(&[], b"").fails_with(&["standard input", "the input is empty"]);
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [
        &["--format", "bind10"][..],
        &["--cloud", "mars"],
        &["--no-such-option"],
        &["--compute-instance", "a b"],
        &["--compute-instance", ""],
        &["--compute-instance", "ci.eastus"],
        &["--allow", "a b"],
        &["-o"],
    ] {
        let run = Run::new(arguments, INPUT.as_bytes());
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{arguments:?}: {}", run.err);
    }
}
