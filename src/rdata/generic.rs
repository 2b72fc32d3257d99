//! Data of any type as `\# LENGTH HEX` (RFC 3597 §5).

use super::token::Tokens;
use super::{Fault, Problem, encoded, number};

/// The word that this form begins with.
pub(super) const MARK: &str = r"\#";

/// Reads what stands behind the mark.
pub(super) fn read(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    tokens.label = "LENGTH";
    let length = tokens.peek()?;
    let mut bytes = [0; 2];
    number::read_into(tokens, &mut bytes)?;
    let said = usize::from(u16::from_be_bytes(bytes));
    tokens.label = "HEX";
    encoded::HEX.read_rest(tokens, rdata, 0)?;
    if rdata.len() != said {
        let at = length.map_or(0, |token| token.at);
        return Err(Fault { at, problem: Problem::Length { said, given: rdata.len() } });
    }
    Ok(())
}

/// Prints any bytes.
pub(super) fn present(rdata: &[u8]) -> String {
    format!("{MARK} {} {}", rdata.len(), encoded::HEX.encode(rdata)).trim_end().to_owned()
}

/// What is expected of a type that has no other form.
pub(super) fn hint() -> String {
    format!(r"{MARK} LENGTH HEX (RFC 3597), such as {MARK} 4 0A010005")
}
