//! Where the tables of a document begin.
//!
//! A line that looks like a header may stand in a text of many lines or in a list that was not closed. So nothing here
//! looks at lines: the text runs through the lexer and the parser that the `toml` crate uses, which say where they see a
//! header. They look forward only, so what lies behind the part that they were given cannot change what they saw.

use toml_parser::lexer::Token;
use toml_parser::parser::{EventReceiver, RecursionGuard, parse_document};
use toml_parser::{ErrorSink, ParseError, Source, Span};

/// How deep lists may be nested: as deep as the `toml` crate lets them.
const DEPTH_MAX: u32 = 80;

/// Octets in which a list that was not closed is told from one that is long.
const HOPELESS_LEN: usize = 32 << 10;
/// More errors than that in so many octets without a header: all that follows is read wrongly.
const HOPELESS_ERRORS: usize = 100;

/// The places of the next headers behind the one at `from`, in order: those within `window` octets; where there are
/// none, further on as far as is needed to see one; none at all when the text has no more.
///
/// # Errors
/// How far it looked, when it found error upon error and no header in 32 KiB: most likely a list was not
/// closed, and everything up to the end of the text is taken for a part of it.
pub fn headers_behind(text: &str, from: usize, window: usize) -> Result<Vec<usize>, usize> {
    let rest = text.get(from..).unwrap_or_default();
    let mut window = window;
    loop {
        let part = rest.get(..rest.floor_char_boundary(window)).unwrap_or_default();
        let (mut found, errors) = headers_of(part);
        found.retain(|&at| at > 0);
        if !found.is_empty() {
            found.iter_mut().for_each(|at| *at += from);
            return Ok(found);
        }
        if part.len() >= HOPELESS_LEN && errors > HOPELESS_ERRORS {
            return Err(from + part.len());
        }
        if part.len() == rest.len() {
            return Ok(found);
        }
        window = window.saturating_mul(4).max(64);
    }
}

/// The places of headers, and how many errors there are.
fn headers_of(text: &str) -> (Vec<usize>, usize) {
    let tokens: Vec<Token> = Source::new(text).lex().into_vec();
    let (mut headers, mut errors) = (Headers(Vec::new()), Errors(0));
    let mut receiver = RecursionGuard::new(&mut headers, DEPTH_MAX);
    parse_document(&tokens, &mut receiver, &mut errors);
    (headers.0, errors.0)
}

struct Errors(usize);

impl ErrorSink for Errors {
    fn report_error(&mut self, _: ParseError) {
        self.0 += 1;
    }
}

struct Headers(Vec<usize>);

impl EventReceiver for Headers {
    fn std_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.0.push(span.start());
    }

    fn array_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.0.push(span.start());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_headers_count() {
        let text = "[[r]]\na = '''\n[[r]]\n'''\nb = [\n[[1]]\n]\n# [[r]]\n[[r]] # x\n  [q]\n";
        let places = [text.find("[[r]] # x").unwrap(), text.find("[q]").unwrap()];
        for window in 0..text.len() + 2 {
            let found = headers_behind(text, 0, window).unwrap();
            assert!(!found.is_empty() && places.starts_with(&found), "{window}: {found:?}");
        }
        assert_eq!(headers_behind(text, 0, text.len()).unwrap(), places);
        assert!(headers_behind(text, places[1], 4).unwrap().is_empty());
    }

    #[test]
    fn a_list_that_does_not_end_takes_all_in() {
        assert!(headers_behind("[[r]]\na = [\n[[r]]\na = 1\n", 0, 8).unwrap().is_empty());
        assert_eq!(
            headers_behind("[[r]]\na = \"\n[[r]]\na = 1\n", 0, 8).unwrap(),
            [12],
            "a text in one line ends with it"
        );
    }

    #[test]
    fn a_list_that_takes_very_much_in_is_given_up() {
        let much = "[[r]]\na = [1]\n".repeat(HOPELESS_LEN);
        let unclosed = ["[[r]]\na = [\n", &much].concat();
        let up_to = headers_behind(&unclosed, 0, 8).unwrap_err();
        assert!((HOPELESS_LEN..unclosed.len() - 1).contains(&up_to), "{up_to}");
        let long = ["[[r]]\na = [\n", &"1,\n".repeat(HOPELESS_LEN / 2), "]\n[[r]]\n"].concat();
        assert_eq!(headers_behind(&long, 0, 8), Ok(vec![long.len() - 6]));
    }
}
