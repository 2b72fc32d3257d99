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

/// Reads a text in parts of several sizes and as a whole.
#[track_caller]
fn same_in_parts_and_whole(text: &str) -> String {
    let source = SourceText::new("records.toml", text);
    let mut problems = Problems::default();
    let whole = read_whole(&source, 0, &mut problems);
    let expected = shown(&source, &[whole], problems);
    for (part_len, window) in [(1, 1), (40, 30), (100, 200), (PART_LEN, WINDOW)] {
        let mut problems = Problems::default();
        let packs = read_in_parts(&source, 0, part_len, window, &mut problems);
        let found = shown(&source, &packs, problems);
        assert_eq!(found.1, expected.1, "{part_len} {window}\n{text}");
        assert_eq!(found.0, expected.0, "{part_len} {window}\n{text}");
    }
    expected.1
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
        ("[[record]]\nname.x = 'a.b'\n", "`name` in [[record]] must be a text"),
        ("[[record]]\nnme = 'a.b'\n", "did you mean `name`"),
        ("[[record]]\nname = 'a..b'\ntype = 'A'\ndata = '10.0.0.1'\n", "no domain name"),
        ("[[record]]\nname = 'a.b'\ntype = 'ANY'\ndata = '10.0.0.1'\n", "not of records"),
        ("[[record]]\nname = 'a.b'\ntype = 'A'\ndata = '10.0.0.256'\n", "no A record"),
        ("[[record]]\nname = 'a.b'\ntype = 'A'\ndata = []\n", "has no data"),
        ("[[record]]\nname = 'a.b'\ntype = 'A'\ndata = '10.0.0.1'\nclients = []\n", "nobody would see"),
        ("[[record]]\nname = 'a.b'\ntype = 'A'\ndata = '10.0.0.1'\nclients = ['10.0.0.1/8']\n", "bits set beyond"),
        ("[[record]]\nname = 'a.b'\ntype = 'A'\ndata = '10.0.0.1'\nttl = 5\n", "must be a text"),
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
fn a_list_that_is_not_closed_costs_little() {
    let unclosed = "[[record]]\nname = \"c.example\"\ndata = [\"10.0.0.1\"\n";
    let text = [&OTHER.repeat(10), unclosed, &PLAIN.repeat(3000)].concat();
    let source = SourceText::new("records.toml", text);
    let mut problems = Problems::default();
    let packs = read_records(&source, 0, &mut problems);
    assert_eq!(packs.iter().map(Packed::len).sum::<usize>(), 10);
    let shown: Vec<_> = problems.iter().map(|problem| format!("{}: {}", problem.place, problem.message)).collect();
    assert!(shown[0].starts_with("records.toml:64:1: not TOML: "), "{}", shown[0]);
    assert!(shown.last().unwrap().ends_with(": the rest of the file was not read"), "{:?}", shown.last());
    assert!(shown.len() < 15_000, "{}", shown.len());
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
