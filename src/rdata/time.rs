//! Times of signatures (RFC 4034 §3.2): `YYYYMMDDHHmmSS` in UTC or seconds since 1970, 32 bits on the wire.

use super::Fault;
use super::number::decimal;
use super::token::Tokens;
use super::wire::{Wire, Words};

const DAY: u64 = 86400;
const WANT: &str = "YYYYMMDDHHmmSS from 1970 to 2106, or seconds since 1970";

/// Reads a time.
pub(super) fn read(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let token = tokens.word()?;
    let seconds = if token.raw.len() == 14 { from_date(token.raw) } else { decimal(token.raw, u64::from(u32::MAX)) };
    let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok()).ok_or_else(|| tokens.not(token, WANT))?;
    rdata.extend_from_slice(&seconds.to_be_bytes());
    Ok(())
}

/// Prints a time as date and time of day.
pub(super) fn present(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    let seconds = u64::from(wire.u32()?);
    let (year, month, day) = date(seconds / DAY);
    let second = seconds % DAY;
    words.word(format_args!(
        "{year:04}{month:02}{day:02}{:02}{:02}{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60
    ));
    Some(())
}

fn from_date(text: &str) -> Option<u64> {
    let digits = decimal(text, u64::MAX)?;
    let (date, time) = (digits / 1_000_000, digits % 1_000_000);
    let (year, month, day) = (date / 10_000, date / 100 % 100, date % 100);
    let (hour, minute, second) = (time / 10_000, time / 100 % 100, time % 100);
    let real = (1970..=2106).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let days: u64 = (1970..year).map(days_of_year).sum::<u64>()
        + (1..month).map(|month| days_of_month(year, month)).sum::<u64>()
        + day.checked_sub(1)?;
    real.then_some(days * DAY + hour * 3600 + minute * 60 + second)
}

/// Year, month and day so many days after 1 January 1970.
fn date(mut days: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    while days >= days_of_year(year) {
        days -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_of_month(year, month) {
        days -= days_of_month(year, month);
        month += 1;
    }
    (year, month, days + 1)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<u32> {
        let mut rdata = Vec::new();
        read(&mut Tokens::new(text), &mut rdata).ok()?;
        rdata.try_into().ok().map(u32::from_be_bytes)
    }

    #[test]
    fn dates_and_seconds() {
        for (text, expected) in [
            ("19700101000000", Some(0)),
            ("20030322173103", Some(1_048_354_263)), // RFC 4034 §3.3
            ("20240229235959", Some(1_709_251_199)),
            ("21060207062815", Some(u32::MAX)),
            ("21060207062816", None),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("20230229000000", None),
            ("20231301000000", None),
            ("20230001000000", None),
            ("20230100000000", None),
            ("20230101240000", None),
            ("20230101006000", None),
            ("20230101000060", None),
            ("19691231235959", None),
            ("99999999999999", None),
            ("2023-01-01T0:0", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn every_day_is_printed_and_read_again() {
        for day in 0..=u32::MAX / 86400 {
            let time = day * 86400;
            let mut words = Words::default();
            present(&mut Wire(&time.to_be_bytes()), &mut words).unwrap();
            assert_eq!(seconds(&words.finish()), Some(time));
        }
    }
}
