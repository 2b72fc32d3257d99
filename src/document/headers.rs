//! Where the tables of a document begin.
//!
//! A line that looks like a header may stand in a text of many lines or in a list that was not closed. So nothing here
//! looks at lines: the text runs through the lexer and the parser that the `toml` crate uses, which say where they see a
//! header. They look forward only, so what lies behind the part that they were given cannot change what they saw.

use toml_parser::lexer::Token;
use toml_parser::parser::{EventReceiver, RecursionGuard, parse_document};
use toml_parser::{ErrorSink, Source, Span};

/// How deep lists may be nested: as deep as the `toml` crate lets them.
const DEPTH_MAX: u32 = 80;

/// The places of the next headers behind the one at `from`, in order: those within `window` octets; where there are
/// none, further on as far as is needed to see one; none at all when the text has no more.
pub fn headers_behind(text: &str, from: usize, window: usize) -> Vec<usize> {
    let rest = text.get(from..).unwrap_or_default();
    let mut window = window;
    loop {
        let part = rest.get(..rest.floor_char_boundary(window)).unwrap_or_default();
        let mut found = headers_of(part);
        found.retain(|&at| at > 0);
        if !found.is_empty() || part.len() == rest.len() {
            found.iter_mut().for_each(|at| *at += from);
            return found;
        }
        window = window.saturating_mul(4);
    }
}

fn headers_of(text: &str) -> Vec<usize> {
    let tokens: Vec<Token> = Source::new(text).lex().into_vec();
    let mut headers = Headers(Vec::new());
    let mut receiver = RecursionGuard::new(&mut headers, DEPTH_MAX);
    parse_document(&tokens, &mut receiver, &mut ());
    headers.0
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
            let found = headers_behind(text, 0, window);
            assert!(!found.is_empty() && places.starts_with(&found), "{window}: {found:?}");
        }
        assert_eq!(headers_behind(text, 0, text.len()), places);
        assert!(headers_behind(text, places[1], 4).is_empty());
    }

    #[test]
    fn a_list_that_does_not_end_takes_all_in() {
        assert!(headers_behind("[[r]]\na = [\n[[r]]\na = 1\n", 0, 8).is_empty());
        assert_eq!(headers_behind("[[r]]\na = \"\n[[r]]\na = 1\n", 0, 8), [11], "a text in one line ends with it");
    }
}
