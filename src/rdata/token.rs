//! Presentation form cut into tokens: words and quoted texts with white space between (RFC 1035 §5.1).

use super::{Fault, Problem};

/// The longest piece of a text that an error shows, characters.
const SHOWN_MAX: usize = 60;

/// One word or quoted text, as written: escapes and quotes are still in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// Where it begins, bytes from the start of the text.
    pub(super) at: usize,
    /// The text itself.
    pub(super) raw: &'a str,
}

impl Token<'_> {
    /// A problem at the token's start.
    pub(super) fn fault(&self, problem: Problem) -> Fault {
        Fault { at: self.at, problem }
    }

    /// The token as an error shows it.
    pub(super) fn shown(&self) -> String {
        match self.raw.char_indices().nth(SHOWN_MAX) {
            Some((end, _)) => format!("{}...", self.raw.get(..end).unwrap_or_default()),
            None => self.raw.to_owned(),
        }
    }

    /// The bytes that the text means: quotes around it taken off, escapes resolved.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, Fault> {
        let inner = self.raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let (text, at) = inner.map_or((self.raw, self.at), |inner| (inner, self.at + 1));
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.char_indices();
        while let Some((i, c)) = rest.next() {
            match c {
                '\\' => {
                    let bad = || Fault { at: at + i, problem: Problem::BadEscape };
                    push_escaped(&mut bytes, &mut rest).ok_or_else(bad)?;
                }
                '"' => {
                    return Err(Fault { at: at + i, problem: Problem::InnerQuote });
                }
                _ => push_char(&mut bytes, c),
            }
        }
        Ok(bytes)
    }

    fn is_quoted(&self) -> bool {
        self.raw.starts_with('"')
    }
}

/// The tokens of a text, one after the other.
pub(super) struct Tokens<'a> {
    text: &'a str,
    at: usize,
    /// What the field that is being read is called in errors.
    pub(super) label: &'static str,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, label: "the data" }
    }

    /// The next token; nothing at the end of the text.
    pub(super) fn next(&mut self) -> Result<Option<Token<'a>>, Fault> {
        let rest = self.text.get(self.at..).unwrap_or_default().trim_start_matches(is_space);
        let at = self.text.len() - rest.len();
        let len = token_len(rest).map_err(|fault| Fault { at: at + fault.at, ..fault })?;
        self.at = at + len;
        let raw = rest.get(..len).unwrap_or_default();
        Ok((len > 0).then_some(Token { at, raw }))
    }

    /// The next token without moving on.
    pub(super) fn peek(&self) -> Result<Option<Token<'a>>, Fault> {
        Self { ..*self }.next()
    }

    /// The next token, which must be there.
    pub(super) fn some(&mut self) -> Result<Token<'a>, Fault> {
        let end = self.text.len();
        self.next()?.ok_or(Fault { at: end, problem: Problem::Missing(self.label) })
    }

    /// The next token, which must be there and have no quotes around it.
    pub(super) fn word(&mut self) -> Result<Token<'a>, Fault> {
        let token = self.some()?;
        self.plain(token)
    }

    /// The next token, which must have no quotes around it; nothing at the end of the text.
    pub(super) fn next_word(&mut self) -> Result<Option<Token<'a>>, Fault> {
        self.next()?.map(|token| self.plain(token)).transpose()
    }

    /// Goes past the next token if it is exactly this one.
    pub(super) fn skip_if(&mut self, raw: &str) -> bool {
        match self.peek() {
            Ok(Some(token)) if token.raw == raw => self.at = token.at + raw.len(),
            _ => return false,
        }
        true
    }

    /// The end of the text, or a fault.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        match self.next()? {
            Some(token) => Err(token.fault(Problem::Extra(token.shown()))),
            None => Ok(()),
        }
    }

    /// The token is not what the field needs.
    pub(super) fn not(&self, token: Token<'_>, want: &'static str) -> Fault {
        token.fault(Problem::Not { found: token.shown(), label: self.label, want })
    }

    fn plain(&self, token: Token<'a>) -> Result<Token<'a>, Fault> {
        if token.is_quoted() { Err(token.fault(Problem::Quoted(self.label))) } else { Ok(token) }
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// How long the token at the start of the text is, bytes; 0 when the text is empty.
fn token_len(text: &str) -> Result<usize, Fault> {
    let mut quote = None;
    let mut rest = text.char_indices();
    while let Some((at, c)) = rest.next() {
        match (c, quote) {
            ('\\', _) => {
                rest.next().ok_or(Fault { at, problem: Problem::BadEscape })?;
            }
            ('"', None) => quote = Some(at),
            ('"', Some(0)) => {
                let behind = rest.next().map(|(_, c)| c);
                let apart = behind.is_none_or(is_space);
                return if apart { Ok(at + 1) } else { Err(Fault { at: at + 1, problem: Problem::NoSpace }) };
            }
            ('"', Some(_)) => quote = None,
            ('(' | ')' | ';', None) => {
                return Err(Fault { at, problem: Problem::Special(c) });
            }
            (c, None) if is_space(c) => return Ok(at),
            _ => {}
        }
    }
    match quote {
        Some(at) => Err(Fault { at, problem: Problem::OpenQuote }),
        None => Ok(text.len()),
    }
}

fn push_escaped(bytes: &mut Vec<u8>, rest: &mut std::str::CharIndices<'_>) -> Option<()> {
    let (_, first) = rest.next()?;
    let Some(hundreds) = first.to_digit(10) else {
        push_char(bytes, first);
        return Some(());
    };
    let mut digit = || rest.next().and_then(|(_, c)| c.to_digit(10));
    let value = hundreds * 100 + digit()? * 10 + digit()?;
    bytes.push(u8::try_from(value).ok()?);
    Some(())
}

fn push_char(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Vec<(usize, &str)> {
        let mut tokens = Tokens::new(text);
        std::iter::from_fn(|| tokens.next().unwrap()).map(|token| (token.at, token.raw)).collect()
    }

    #[test]
    fn words_and_quoted_texts() {
        assert_eq!(raw(" a\tb\r\n c "), [(1, "a"), (3, "b"), (7, "c")]);
        assert_eq!(raw(r#"a"b c"d "e ( f" \"g\ h"#), [(0, r#"a"b c"d"#), (8, r#""e ( f""#), (16, r#"\"g\ h"#)]);
        assert_eq!(raw("  "), []);
    }

    #[test]
    fn faults_have_their_place() {
        for (text, at, problem) in [
            (r#"a "b"#, 2, Problem::OpenQuote),
            (r#"a "b\""#, 2, Problem::OpenQuote),
            (r#""a"b"#, 3, Problem::NoSpace),
            ("a b;c", 3, Problem::Special(';')),
            ("(a)", 0, Problem::Special('(')),
            (r"a\", 1, Problem::BadEscape),
        ] {
            let mut tokens = Tokens::new(text);
            let fault = std::iter::from_fn(|| tokens.next().transpose()).find_map(Result::err).unwrap();
            assert_eq!((fault.at, fault.problem), (at, problem), "{text}");
        }
    }

    #[test]
    fn escapes_mean_bytes() {
        let bytes = |raw| Token { at: 5, raw }.bytes();
        assert_eq!(bytes(r#""a\"b\\\000\255\ü""#).unwrap(), b"a\"b\\\x00\xff\xc3\xbc");
        assert_eq!(bytes("é").unwrap(), [0xc3, 0xa9]);
        assert!(bytes(r#""""#).unwrap().is_empty());
        for (raw, at, problem) in
            [(r"a\256", 6, Problem::BadEscape), (r#""a\1""#, 7, Problem::BadEscape), (r#"a"b"#, 6, Problem::InnerQuote)]
        {
            let fault = bytes(raw).unwrap_err();
            assert_eq!((fault.at, fault.problem), (at, problem), "{raw}");
        }
    }

    #[test]
    fn only_the_very_token_is_skipped() {
        let mut tokens = Tokens::new(r"  \# 4");
        assert!(!tokens.skip_if(r"\"));
        assert!(tokens.skip_if(r"\#"));
        assert_eq!(tokens.word().unwrap(), Token { at: 5, raw: "4" });
        assert!(!Tokens::new("").skip_if(r"\#"));
    }
}
