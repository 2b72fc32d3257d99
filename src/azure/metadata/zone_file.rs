//! Zone files (RFC 1035 §5), as `az network private-dns zone export` writes them and `import` reads them.
//!
//! Understood are `$ORIGIN`, `$TTL`, comments, quoted texts, entries over several lines in parentheses, and owners
//! left out. `$INCLUDE` and `$GENERATE` are refused, as Azure refuses them. The zone's own SOA and NS are passed over.

use std::collections::BTreeMap;

use super::dns::quoted_bytes;
use super::{Located, Problem, RecordSet};

/// What a zone file holds: record sets and problems, with `line:column` as their path.
#[derive(Debug, Default)]
pub struct ZoneFile {
    /// The record sets, in the order of their names.
    pub sets: Vec<RecordSet>,
    /// What is wrong with the file.
    pub problems: Vec<Problem>,
}

/// Whether a text is a zone file rather than JSON: it begins with a comment, a directive or a record of class IN.
pub fn is_zone_file(text: &str) -> bool {
    let mut lines =
        text.lines().map(|line| line.trim_start_matches('\u{FEFF}').trim_start()).filter(|line| !line.is_empty());
    let Some(first) = lines.next() else {
        return false;
    };
    let mut words = first.split_whitespace();
    let is_record = words.next().is_some_and(|owner| !owner.starts_with(['{', '[', '"'])) && {
        let behind: Vec<&str> =
            words.skip_while(|word| word.bytes().all(|byte| byte.is_ascii_digit())).take(2).collect();
        let known = |word: &&str| TYPES.iter().chain(&["SOA", "NS"]).any(|known| word.eq_ignore_ascii_case(known));
        matches!(behind.as_slice(), [class, kind] if class.eq_ignore_ascii_case("IN") && known(kind))
    };
    let directives = ["$ORIGIN", "$TTL", "$INCLUDE", "$GENERATE"];
    first.starts_with(';') || is_record || directives.iter().any(|it| first.to_ascii_uppercase().starts_with(it))
}

/// Reads a zone file.
pub fn read_zone_file(text: &str) -> ZoneFile {
    let mut reader = Reader::default();
    for entry in entries(text) {
        if let Err(problem) = entry.and_then(|entry| reader.entry(&entry)) {
            reader.problems.push(problem);
        }
    }
    let sets = reader.sets.into_iter().map(|((name, record_type), set)| RecordSet {
        zone: set.zone,
        name: Located { value: name, path: set.path },
        record_type,
        data: set.data,
        ttl: set.ttl,
    });
    ZoneFile { sets: sets.collect(), problems: reader.problems }
}

#[derive(Default)]
struct Reader {
    origin: Option<String>,
    ttl: Option<u32>,
    owner: Option<String>,
    sets: BTreeMap<(String, &'static str), Set>,
    problems: Vec<Problem>,
}

struct Set {
    zone: Option<String>,
    path: String,
    data: Vec<Located<String>>,
    ttl: Option<u32>,
}

impl Reader {
    fn entry(&mut self, entry: &Entry) -> Result<(), Problem> {
        let [first, rest @ ..] = entry.tokens.as_slice() else {
            return Ok(());
        };
        match first.text.to_ascii_uppercase().as_str() {
            "$ORIGIN" => {
                let origin = rest.first().ok_or_else(|| first.problem("$ORIGIN has no name"))?;
                self.origin = Some(self.absolute(origin)?);
                return Ok(());
            }
            "$TTL" => {
                let ttl = rest.first().and_then(|token| seconds(&token.text));
                self.ttl = Some(ttl.ok_or_else(|| first.problem("$TTL has no number of seconds"))?);
                return Ok(());
            }
            "$INCLUDE" | "$GENERATE" => {
                let text = format!("{} is not understood: $ORIGIN and $TTL are", first.text.to_ascii_uppercase());
                return Err(first.problem(&text));
            }
            directive if directive.starts_with('$') => {
                return Err(first.problem("this directive is not understood: $ORIGIN and $TTL are"));
            }
            _ => {}
        }
        let rest = if entry.has_owner {
            self.owner = Some(self.absolute(first)?);
            rest
        } else {
            &entry.tokens
        };
        let owner = self.owner.clone().ok_or_else(|| first.problem("this record has no owner name"))?;
        self.record(owner, first, rest)
    }

    /// The part behind the owner: time to live and class in either order, type, data.
    fn record(&mut self, owner: String, first: &Token, mut rest: &[Token]) -> Result<(), Problem> {
        let mut ttl = self.ttl;
        let record_type = loop {
            let [token, behind @ ..] = rest else {
                return Err(first.problem("this record has no type"));
            };
            rest = behind;
            match seconds(&token.text) {
                Some(seconds) => ttl = Some(seconds),
                None if token.text.eq_ignore_ascii_case("IN") => {}
                None => break token,
            }
        };
        let Some(known) = TYPES.iter().find(|known| record_type.text.eq_ignore_ascii_case(known)) else {
            let is_own = ["SOA", "NS"].iter().any(|own| record_type.text.eq_ignore_ascii_case(own));
            return if is_own {
                Ok(())
            } else {
                Err(record_type.problem("records of this type do not occur in private zones"))
            };
        };
        let data = Located { value: self.data(known, record_type, rest)?, path: first.path() };
        let zone = self.origin.as_ref().map(|origin| origin.trim_end_matches('.').to_owned());
        let new = || Set { zone, path: first.path(), data: Vec::new(), ttl };
        let set = self.sets.entry((owner.to_ascii_lowercase(), *known)).or_insert_with(new);
        set.ttl = set.ttl.min(ttl);
        set.data.push(data);
        Ok(())
    }

    fn data(&self, record_type: &str, at: &Token, tokens: &[Token]) -> Result<String, Problem> {
        let numbers = |tokens: &[Token]| {
            let texts: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
            texts.iter().all(|text| text.parse::<u16>().is_ok()).then(|| texts.join(" "))
        };
        let wrong = || at.problem("the data of this record is not what its type has");
        match (record_type, tokens) {
            ("A" | "AAAA", [address]) => Ok(address.text.clone()),
            ("CNAME" | "PTR", [name]) => self.absolute(name),
            ("MX", [before @ .., name]) if before.len() == 1 => {
                Ok(format!("{} {}", numbers(before).ok_or_else(wrong)?, self.absolute(name)?))
            }
            ("SRV", [before @ .., name]) if before.len() == 3 => {
                Ok(format!("{} {}", numbers(before).ok_or_else(wrong)?, self.absolute(name)?))
            }
            ("TXT", [_, ..]) => {
                let texts: Option<Vec<String>> =
                    tokens.iter().map(|token| Some(quoted_bytes(&unescaped(&token.text)?))).collect();
                Ok(texts.ok_or_else(wrong)?.join(" "))
            }
            _ => Err(wrong()),
        }
    }

    /// A name with its final dot. `@` stands for the origin, as a whole name and, in Azure's files, as the last label.
    fn absolute(&self, token: &Token) -> Result<String, Problem> {
        let text = token.text.as_str();
        if text.ends_with('.') {
            return Ok(text.to_owned());
        }
        let origin = self
            .origin
            .as_deref()
            .ok_or_else(|| token.problem("this name is relative, and no $ORIGIN stands before it"))?;
        let front = if text == "@" { "" } else { text.strip_suffix(".@").unwrap_or(text) };
        Ok(if front.is_empty() { origin.to_owned() } else { format!("{front}.{}", origin.trim_start_matches('.')) })
    }
}

/// One entry: a line, or several in parentheses.
#[derive(Default)]
struct Entry {
    has_owner: bool,
    tokens: Vec<Token>,
}

/// A word, with escapes as written and quotes taken off.
struct Token {
    text: String,
    line: usize,
    column: usize,
}

impl Token {
    fn path(&self) -> String {
        format!("{}:{}", self.line, self.column)
    }

    fn problem(&self, text: &str) -> Problem {
        let hint = "export the zone again: `az network private-dns zone export -g GROUP -n ZONE -f FILE`";
        Problem { path: self.path(), fatal: true, text: text.to_owned(), hint: hint.to_owned() }
    }
}

/// Cuts a zone file into entries. A parenthesis that is not closed is the last one's problem.
fn entries(text: &str) -> Vec<Result<Entry, Problem>> {
    let mut entries = Vec::new();
    let mut entry = Entry::default();
    let mut depth = 0_usize;
    for (at, line) in text.lines().enumerate() {
        if depth == 0 {
            entry.has_owner = !line.starts_with([' ', '\t']);
        }
        cut(line, at + 1, &mut entry.tokens, &mut depth);
        if depth == 0 {
            entries.push(Ok(std::mem::take(&mut entry)));
        }
    }
    if let Some(first) = entry.tokens.first() {
        entries.push(Err(first.problem("a parenthesis of this record is not closed")));
    }
    entries
}

fn cut(line: &str, number: usize, tokens: &mut Vec<Token>, depth: &mut usize) {
    let mut chars = line.chars().enumerate().peekable();
    while let Some((at, c)) = chars.next() {
        let mut text = String::new();
        match c {
            ';' => return,
            '(' => *depth += 1,
            ')' => *depth = depth.saturating_sub(1),
            c if c.is_whitespace() => {}
            '"' => {
                while let Some((_, c)) = chars.next_if(|(_, c)| *c != '"') {
                    text.push(c);
                    if c == '\\' {
                        text.extend(chars.next().map(|(_, c)| c));
                    }
                }
                chars.next();
                tokens.push(Token { text, line: number, column: at + 1 });
            }
            first => {
                text.push(first);
                if first == '\\' {
                    text.extend(chars.next().map(|(_, c)| c));
                }
                while let Some((_, c)) = chars.next_if(|(_, c)| !c.is_whitespace() && !"();\"".contains(*c)) {
                    text.push(c);
                    if c == '\\' {
                        text.extend(chars.next().map(|(_, c)| c));
                    }
                }
                tokens.push(Token { text, line: number, column: at + 1 });
            }
        }
    }
}

/// A number of seconds, plain or in units (`1h30m`).
fn seconds(text: &str) -> Option<u32> {
    if let Ok(seconds) = text.parse() {
        return text.starts_with(|c: char| c.is_ascii_digit()).then_some(seconds);
    }
    let mut total = 0_u32;
    let mut number = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let unit = match c.to_ascii_lowercase() {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86400,
            'w' => 604_800,
            _ => return None,
        };
        total = number.parse::<u32>().ok()?.checked_mul(unit)?.checked_add(total)?;
        number.clear();
    }
    (number.is_empty() && !text.is_empty()).then_some(total)
}

/// The bytes of a text: `\DDD` and `\c` resolved (RFC 1035 §5.1).
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let next = rest.next()?;
        if !next.is_ascii_digit() {
            bytes.push(next);
            continue;
        }
        let digits = [next, rest.next()?, rest.next()?];
        bytes.push(std::str::from_utf8(&digits).ok()?.parse().ok()?);
    }
    Some(bytes)
}

/// What a private zone may hold.
const TYPES: [&str; 7] = ["A", "AAAA", "CNAME", "MX", "PTR", "SRV", "TXT"];

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(text: &str) -> Vec<String> {
        let file = read_zone_file(text);
        assert!(file.problems.is_empty(), "{:?}", file.problems);
        let data = |set: &RecordSet| set.data.iter().map(|data| data.value.as_str()).collect::<Vec<_>>().join(" | ");
        file.sets
            .iter()
            .map(|set| format!("{} {:?} {} {}", set.name.value, set.ttl, set.record_type, data(set)))
            .collect()
    }

    #[test]
    fn entries_in_every_form() {
        let text = "; head\n$ORIGIN X.local.\n$TTL 1h\n@ IN SOA a. b. ( 1 2 ; c\n 3 4 5 )\n  NS ns\nA 60 IN a 10.0.0.1\n  in 5 A 10.0.0.2\n\
            c CNAME @\n_sip._tls.@ SRV 1 2 3 t.y.\nt TXT \"a;b \\\"\\065\" c\\ d\nm MX 10 m\n";
        let expected = [
            "_sip._tls.x.local. Some(3600) SRV 1 2 3 t.y.",
            "a.x.local. Some(5) A 10.0.0.1 | 10.0.0.2",
            "c.x.local. Some(3600) CNAME X.local.",
            "m.x.local. Some(3600) MX 10 m.X.local.",
            "t.x.local. Some(3600) TXT \"a;b \\\"A\" \"c d\"",
        ];
        assert_eq!(sets(text), expected);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, path) in [
            ("$ORIGIN x.\n\n a A 10.0.0.1", "3:2"),
            ("a A 10.0.0.1", "1:1"),
            ("$ORIGIN x.\na A", "2:3"),
            ("$ORIGIN x.\na MX m", "2:3"),
            ("$ORIGIN x.\na 5", "2:1"),
            ("$ORIGIN x.\na TXT ( b", "2:1"),
            ("$ORIGIN x.\na TXT \\25", "2:3"),
            ("$ORIGIN x.\na NAPTR 1 2", "2:3"),
            ("$INCLUDE x", "1:1"),
            ("$ORIGIN", "1:1"),
            ("$TTL x", "1:1"),
        ] {
            let file = read_zone_file(text);
            assert_eq!(file.problems.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(), [path], "{text}");
        }
    }

    #[test]
    fn json_is_no_zone_file() {
        assert!(is_zone_file("\n;\tExported zone\n") && is_zone_file("$ORIGIN x."));
        assert!(
            is_zone_file("a.example. 10 IN A 10.0.0.1") && is_zone_file("a IN TXT x") && !is_zone_file("$ az network")
        );
        assert!(!is_zone_file("{}") && !is_zone_file("[]") && !is_zone_file("ERROR: x") && !is_zone_file(""));
    }
}
