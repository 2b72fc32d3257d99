//! What is read in parts is what the TOML parser makes of the whole file.

use proptest::prelude::*;

use super::*;
use crate::records::{TableSettings, compile};

/// All that a reading gives: each record, and each problem as it is shown.
fn shown(source: &SourceText, packs: &[Packed], mut problems: Problems) -> (Vec<String>, String) {
    let records = packs.iter().flat_map(Packed::iter).map(|(_, record)| {
        let data: Vec<_> = record.data().collect();
        format!("{:?} {data:?}", record)
    });
    let records = records.collect();
    compile(packs, &[], TableSettings { ttl: 10 }, vec![source.clone()], &mut problems);
    (records, problems.to_string())
}

/// Limits under which a text counts as large, in parts and windows of several sizes.
const SMALL_LIMITS: [Limits; 3] = [
    Limits { toml_max: 0, part_len: 1, windows: [1, 1, 10_000] },
    Limits { toml_max: 0, part_len: 40, windows: [30, 60, 10_000] },
    Limits { toml_max: 0, part_len: 100, windows: [200, 400, 10_000] },
];

/// Reads a text as a whole, and as a large file in parts of several sizes. What is well-formed is read alike; of what is
/// not, the large file's reading tells the first error and ends there.
#[track_caller]
fn same_in_parts_and_whole(text: &str) -> String {
    let source = SourceText::new("records.toml", text);
    let mut problems = Problems::default();
    let whole = read_whole(&source, 0, &mut problems);
    let (records, expected) = shown(&source, &[whole], problems.clone());
    let mut found = Problems::default();
    let packs = read_within(&source, 0, LIMITS, &mut found);
    assert_eq!(shown(&source, &packs, found), (records.clone(), expected.clone()), "{text}");
    let is_well_formed = Document::new(&source).parse_strictly().is_ok();
    let has_foreign = expected.contains("unknown key") && expected.contains("in the file");
    for limits in SMALL_LIMITS {
        let limits = Limits { toml_max: text.len(), ..limits };
        let mut found = Problems::default();
        let packs = read_within(&source, 0, limits, &mut found);
        if first_header(text).is_err() {
            assert!(found.has_errors(), "{text}");
            continue;
        }
        let has_errors = found.has_errors();
        let (found_records, found) = shown(&source, &packs, found);
        if is_well_formed && !has_foreign {
            assert_eq!(found, expected, "{limits:?}\n{text}");
            assert_eq!(found_records, records, "{limits:?}\n{text}");
        } else {
            assert!(has_errors && problems.has_errors(), "{limits:?}\n{text}");
            if let Some(first) = first_syntax_error(&found) {
                // Headers that contradict each other across parts are not seen: then a later error is the first one.
                let is_later = first_syntax_error(&expected).is_some_and(|known| place(known) < place(first));
                let is_known = expected.lines().any(|line| line == first);
                assert!(is_known || is_later, "{limits:?}\n{first}\n{expected}\n{text}");
            }
        }
    }
    expected
}

fn first_syntax_error(shown: &str) -> Option<&str> {
    shown.lines().find(|line| line.contains("not TOML: "))
}

/// Line and column of a problem that is shown as FILE:LINE:COLUMN: and so on.
fn place(line: &str) -> Option<(usize, usize)> {
    let mut parts = line.split(':').skip(1);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

const PLAIN: &str = "[[record]]\nname = \"a.example\"\ntype = \"A\"\ndata = [\"10.1.0.5\"]\n";
const OTHER: &str = "[[record]]\nname = \"b.example\"\ntype = \"A\"\ndata = \"10.1.0.6\"\nttl  = \"10s\"\n\n";

#[test]
fn good_records_however_they_are_written() {
    for record in [
        "[[record]] # x\r\nname = 'c.example' # y\r\ntype='A'\r\ndata = [ # z\r\n '10.0.0.1', # [[record]]\r\n\r\n\"10.0.0.2\" , ]\r\n",
        "  [[record]]\n\tname = \"c.example\"\n  type = \"TXT\"\n  data = \"\\\"\\u00e9\\\"\"\n",
        "[[record]]\nname = \"c.example\"\ntype = \"TXT\"\ndata = '''\n[[record]]\n'''\n",
        "[[record]]\nname = \"c.example\"\ntype = \"TXT\"\ndata = [\"\"\"\n[[record]]\nname = \\\n\"\"\", '\"[[record]]\"']\n",
        "[[ record ]]\nname = \"c.example\"\ntype = \"A\"\ndata = \"10.0.0.1\"\n",
        "[[\"record\"]]\n\"name\" = \"c.example\"\n'type' = \"A\"\ndata = \"10.0.0.1\"\n",
        "[[record]]\nname = \"c.example\"\ntype = \"aaaa\"\ndata = \"::1\"\nclients = ['10.0.0.0/8', 'fd00::1']\n",
        "[[record]]\nname = \"c.example\"\ntype = \"A\"\ndata = \"10.0.0.1\"\nclients = ['10.0.0.0/8']\nttl = \"1h\"",
    ] {
        for text in [
            [PLAIN, record, "\n", OTHER].concat(),
            [record, "\n", PLAIN].concat(),
            ["\u{feff}# head\n\n", PLAIN, OTHER, record].concat(),
        ] {
            let problems = same_in_parts_and_whole(&text);
            assert_eq!(problems, "", "{text}");
        }
    }
    for text in ["", "\u{feff}", "# nothing\n", "\n \t\r\n", "record = []", "# é\n[[record]]"] {
        same_in_parts_and_whole(text);
    }
    let inline = "record = [{ name = 'a.b', type = 'A', data = '10.0.0.1' }]\n";
    assert_eq!(same_in_parts_and_whole(inline), "");
}

#[test]
fn what_is_wrong_is_said_alike() {
    for (record, expected) in [
        ("[[record]]\nname = \"c.example\n", "not TOML"),
        ("[[record]]\nname\n", "not TOML"),
        ("[[record]\nname = \"c.example\"\n", "not TOML"),
        ("[[record\n", "not TOML"),
        ("[[record]]\ndata = [\n", "not TOML"),
        ("[[record]]\ndata = \"\"\"\n", "not TOML"),
        ("[[record]]\ndata = '''\n", "not TOML"),
        ("[[record]] name = 'x'\n", "not TOML"),
        ("[[record]]\nname = 'a.b' # \u{7f}\n", "not TOML"),
        ("[[record]]\nname = 'a.b'\rtype = 'A'\n", "not TOML"),
        ("[[record]]\nname = 'a.b'\nname = 'c.d'\n", "duplicate key"),
        ("[[record]]\nname.x = 'a.b'\n", "`name` in [[record]] must be a string"),
        ("[[record]]\nnme = 'a.b'\n", "did you mean `name`"),
        ("[[record]]\nname = 'a..b'\ntype = 'A'\ndata = '10.0.0.1'\n", "not a valid domain name"),
        ("[[record]]\nname = 'a.b'\ntype = 'ANY'\ndata = '10.0.0.1'\n", "not of records"),
        ("[[record]]\nname = 'a.b'\ntype = 'A'\ndata = '10.0.0.256'\n", "not a valid A record"),
        ("[[record]]\nname = 'a.b'\ntype = 'A'\ndata = []\n", "has no data"),
        ("[[record]]\nname = 'a.b'\ntype = 'A'\ndata = '10.0.0.1'\nclients = []\n", "no client would see"),
        ("[[record]]\nname = 'a.b'\ntype = 'A'\ndata = '10.0.0.1'\nclients = ['10.0.0.1/8']\n", "bits set beyond"),
        ("[[record]]\nname = 'a.b'\ntype = 'A'\ndata = '10.0.0.1'\nttl = 5\n", "must be a duration in quotes"),
        ("[[record]]\nname = 'a.b'\ntype = 'A'\ndata = '10.0.0.1'\nttl = '5ms'\n", "whole number of seconds"),
        ("[[record]]\nname = 'a.example'\ntype = 'A'\ndata = '10.9.9.9'\n", "other data"),
        ("[[zone]]\nname = 'a.b'\n", "unknown key `zone` in the file"),
        ("[zone]\n[zone]\n", "duplicate key"),
        ("[record]\n", "duplicate key"),
        ("[record.x]\n", "unknown key `x` in [[record]]"),
        ("[record.name]\n", "duplicate key"),
        ("[\"record\"]\n", "duplicate key"),
        ("[[record.x]]\n", "unknown key `x` in [[record]]"),
        ("[\n", "not TOML"),
        ("]\n= 1\n", "not TOML"),
        ("\n[[record]]\ntype==", "not TOML"),
    ] {
        let again = ["[[record]]\nname = 'z.example'\ntype = 'A'\ndata = 'x'\n", PLAIN, OTHER].concat();
        for text in [
            [PLAIN, record, OTHER].concat(),
            [PLAIN, OTHER, record, OTHER, &again, PLAIN, OTHER, PLAIN].concat(),
            [PLAIN, OTHER, PLAIN, OTHER, record].concat(),
            [PLAIN, record, record, &again, record, OTHER].concat(),
            [PLAIN, OTHER, PLAIN, OTHER, record, OTHER, &again].concat().replace('\n', "\r\n"),
        ] {
            let problems = same_in_parts_and_whole(&text);
            assert!(problems.contains(expected), "{problems}\n{text}");
        }
        same_in_parts_and_whole(&[record, PLAIN, OTHER, PLAIN].concat());
    }
    assert!(same_in_parts_and_whole(&["record = 1\n", PLAIN].concat()).contains("duplicate key"));
    assert!(same_in_parts_and_whole(&["name = 1\n", PLAIN].concat()).contains("unknown key"));
}

#[test]
fn a_large_file_is_read_up_to_its_first_syntax_error() {
    let unclosed = "[[record]]\nname = \"c.example\"\ndata = [\"10.0.0.1\"\n";
    let wrong = "[[record]]\nname = \"c.example\"\ntype = \"A\"\ndata = \"10.0.0.256\"\n";
    let text = [&OTHER.repeat(10_000), wrong, unclosed, &PLAIN.repeat(3000), wrong].concat();
    assert!(text.len() > LIMITS.toml_max);
    let source = SourceText::new("records.toml", text);
    let mut problems = Problems::default();
    let packs = read_records(&source, 0, &mut problems);
    let shown: Vec<_> = problems.iter().map(|problem| format!("{}: {}", problem.place, problem.message)).collect();
    assert_eq!(shown.len(), 2, "{problems}");
    assert!(shown[0].starts_with("records.toml:60008:1: not TOML: "), "{}", shown[0]);
    assert_eq!(shown[1], "records.toml:60001:1: the rest of the file was not read");
    assert_eq!(packs.iter().map(Packed::len).sum::<usize>(), 10_000);
}

/// What the first problem says, how many there are, and how many are kept.
fn problems_of(text: String) -> (String, usize, usize) {
    let source = SourceText::new("records.toml", text);
    let mut problems = Problems::default();
    read_records(&source, 0, &mut problems);
    let first = problems.iter().next().map(|first| format!("{}: {}", first.place, first.message));
    (first.unwrap_or_default(), problems.len(), problems.iter().count())
}

#[test]
fn however_a_file_is_broken_its_problems_are_bounded() {
    let header = "[[record]]\n";
    let (first, all, kept) = problems_of(header.repeat(200_000));
    assert_eq!((&*first, all, kept), ("records.toml:1:1: [[record]] has no `name`", 600_000, 1000));
    let (first, all, kept) = problems_of(header.repeat(1000));
    assert_eq!((&*first, all, kept), ("records.toml:1:1: [[record]] has no `name`", 3000, 1000));
    let (_, all, kept) = problems_of("]\n".repeat(50_000));
    assert!(all > 1000 && kept == 1000, "{all} {kept}");
    for text in [
        "[".repeat(100_000),
        "[".repeat(3 << 20),
        ["[[record]]\nname = ", &"[".repeat(3 << 20)].concat(),
        ["[[record]]\nname = \"", &"a".repeat(3 << 20), "\""].concat(),
        ["[[record]]\nname = '''\n", &header.repeat(1 << 18)].concat(),
        ["[[record]]\ndata = [\n", &"'10.0.0.1',\n".repeat(1 << 18), "]"].concat(),
        ["[[record]]\n", &"a = 1\n".repeat(1 << 19)].concat(),
        "a.".repeat(1 << 20),
        ["record = [\n", &"{ name = 'a.b' },\n".repeat(1 << 16), "]"].concat(),
    ] {
        let start: String = text.chars().take(30).collect();
        let (first, all, kept) = problems_of(text);
        assert!((1..=2).contains(&all) && all == kept, "{start:?}: {all} {kept} {first}");
    }
}

#[test]
fn data_that_is_repeated_is_read_once() {
    let few = "[[record]]\nname = 'a.example'\ntype = 'A'\ndata = ['10.0.0.1', '10.0.0.2', '10.0.0.1']\n";
    let many = |count: usize| {
        let data: String = (0..count).map(|number| format!("'10.0.{}.{}', ", number % 7, number % 5)).collect();
        format!("[[record]]\nname = 'a.example'\ntype = 'A'\ndata = [{data}]\n")
    };
    let odd = few.replace("type", "\"type\"");
    for (text, expected) in [(few.to_owned(), 2), (odd, 2), (many(20_000), 35), (many(8), 8), (many(36), 35)] {
        let source = SourceText::new("records.toml", text);
        let mut problems = Problems::default();
        let packs = read_records(&source, 0, &mut problems);
        assert!(problems.is_empty(), "{problems}");
        let pieces: Vec<&[u8]> = packs.iter().flat_map(Packed::iter).flat_map(|(_, record)| record.data()).collect();
        assert_eq!(pieces.len(), expected);
        assert_eq!(pieces.iter().collect::<std::collections::HashSet<_>>().len(), expected);
    }
}

#[test]
fn what_is_remarkable_is_said_at_its_place() {
    let record = |name: &str, rtype: &str, data: &str| {
        format!("[[record]]\nname = \"{name}\"\ntype = \"{rtype}\"\ndata = [\"{data}\"]\n")
    };
    for (text, expected) in [
        (record("orchidone", "A", "10.0.0.1"), "2:8: warning: orchidone is one label alone"),
        (record("a.example", "CNAME", "A.Example."), "4:8: warning: a.example is an alias of itself"),
        (record("sub.*.example", "A", "10.0.0.1"), "2:8: warning: the `*` in sub.*.example stands for itself"),
        (record("st.privatelink.blob.core.windows.net", "A", "20.60.1.1"), "4:8: warning: st.privatelink"),
        (record("ci-*x.example", "A", "10.0.0.1"), "2:8: error: ci-*x.example could never match"),
        (record("*.*.example", "A", "10.0.0.1"), "2:8: error: *.*.example could never match"),
        (record("caf\u{e9}.corp.example", "A", "10.0.0.1"), "write it as \"xn--caf-dma.corp.example\""),
    ] {
        let shown = same_in_parts_and_whole(&text);
        assert!(shown.contains(expected), "{expected} in\n{shown}");
        assert_eq!(shown.matches("= hint:").count(), 1, "{shown}");
        same_in_parts_and_whole(&[PLAIN, &text, OTHER].concat());
    }
    let generated = "# 1 records, written by `pldns generate`. Do not edit: generate them again.\n";
    let text = [generated, &record("st.blob.core.windows.net", "A", "20.60.1.1")].concat();
    assert!(same_in_parts_and_whole(&text).contains("5:8: warning: st.blob.core.windows.net has the public address"));
    for good in [
        record("st.blob.core.windows.net", "A", "20.60.1.1"),
        record("st.privatelink.blob.core.windows.net", "A", "10.60.1.1"),
        record("ci-anna-*.example", "A", "10.0.0.1"),
        record("a.example", "CNAME", "b.a.example."),
    ] {
        assert_eq!(same_in_parts_and_whole(&good), "", "{good}");
    }
}

/// Pieces of records files: most are right where they stand, many are not.
fn piece() -> impl Strategy<Value = String> {
    let lines = prop::sample::select(vec![
        "[[record]]\n",
        "[[record]] # x\r\n",
        "[[record]]",
        "[[ record ]]\n",
        " [[record]]\n",
        "[record]\n",
        "[[record]\n",
        "[record.x]\n",
        "[[zone]]\n",
        "[zone.x]\n",
        "[[zone.x]]\n",
        "name = \"c.example\"\n",
        "name = \"d.\n",
        "name = 'a.example'\r\n",
        "type = \"A\"\n",
        "type = \"CNAME\"\n",
        "ttl = \"1m\" # x\n",
        "ttl = 10\n",
        "name\n",
        "name = \n",
        "data = [\n",
        "data = [",
        "]\n",
        "\"10.0.0.7\",\n",
        "data = \"\"\"\n",
        "\"\"\"\n",
        "data = '''\n",
        "'''\n",
        "data = '10.0.0.8'\n",
        "data = \"\\u0031.0.0.1\"\n",
        "data = {x = 1}\n",
        "a.b = 1\n",
        "# x\n",
        "#\u{1}\n",
        "\n",
        " ",
        "\r",
        "\u{feff}",
        "\u{e9}\n",
        "clients = ['10.0.0.0/8']\n",
        "clients = '10.0.0.1/8'\n",
        "x = [[[1]]]\n",
    ]);
    let plain = |number: u8| format!("[[record]]\nname = \"n{number}.example\"\ntype = \"A\"\ndata = \"10.0.0.1\"\n");
    prop_oneof![
        3 => (0..4u8).prop_map(plain),
        1 => Just(PLAIN.to_owned()),
        1 => Just(OTHER.to_owned()),
        3 => lines.prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_alike(pieces in prop::collection::vec(piece(), 0..16)) {
        same_in_parts_and_whole(&pieces.concat());
    }
}
