//! Texts with very many syntax errors, told before the parser builds what it makes of them.
//!
//! The parser of the `toml` crate goes on behind an error and keeps each one, 200 bytes for a byte of the text where every
//! byte is wrong. So a text that is not small first runs through the lexer and the grammar that it uses, which keep
//! nothing.

use toml_parser::parser::{RecursionGuard, parse_document};
use toml_parser::{Expected, ParseError, Source};

use super::{PROBLEMS_MAX, SyntaxError};

/// A text of so many bytes has no more errors than can be kept for a moment.
const SMALL: usize = 32 << 10;
/// How deep lists may be nested: as deep as the `toml` crate lets them.
const DEPTH_MAX: u32 = 80;

/// The first errors of a text that has more than are kept, and how many more there are.
pub(super) fn many_errors(text: &str) -> Option<(Vec<SyntaxError>, usize)> {
    if text.len() <= SMALL {
        return None;
    }
    let tokens = Source::new(text).lex().into_vec();
    let (mut errors, mut more) = (Vec::new(), 0);
    let mut note = |error: ParseError| {
        if errors.len() < PROBLEMS_MAX {
            errors.push(syntax_error(&error));
        } else {
            more += 1;
        }
    };
    let mut receiver = ();
    parse_document(&tokens, &mut RecursionGuard::new(&mut receiver, DEPTH_MAX), &mut note);
    (more > 0).then_some((errors, more))
}

fn syntax_error(error: &ParseError) -> SyntaxError {
    let mut message = error.description().to_owned();
    for (number, expected) in error.expected().unwrap_or_default().iter().enumerate() {
        message.push_str(if number == 0 { ", expected " } else { ", " });
        match expected {
            Expected::Literal("\n") => message.push_str("newline"),
            Expected::Literal(literal) => message.push_str(&format!("`{}`", literal.escape_debug())),
            Expected::Description(description) => message.push_str(description),
            _ => message.push_str("something else"),
        }
    }
    SyntaxError { span: error.unexpected().map_or(0..0, |span| span.start()..span.end()), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_very_many_errors_is_told() {
        let (errors, more) = many_errors(&"]\n".repeat(50_000)).unwrap();
        assert_eq!(errors.len(), PROBLEMS_MAX);
        assert!(more > 1000, "{more}");
        assert!(many_errors(&"a = 1\n".repeat(10_000)).is_none(), "what is well-formed has none");
        assert!(many_errors(&"a = [1\n".repeat(100)).is_none(), "a small text is none");
    }
}
