//! Positions on earth (RFC 1876).
//!
//! Angles are thousandths of a second of arc from 2^31, altitude is centimetres from 100 km below the ellipsoid, sizes
//! are a digit and a power of ten in centimetres: of a size only the first digit is kept.

use super::Fault;
use super::number::decimal;
use super::token::{Token, Tokens};
use super::wire::{Wire, Words};

const VERSION: u8 = 0;
const EQUATOR: i64 = 1 << 31;
const DEGREE: i64 = 3_600_000;
/// Sea level, centimetres above the lowest altitude.
const SEA_LEVEL: i64 = 10_000_000;
/// The largest size: 90 000 000 m, in centimetres.
const SIZE_MAX: i64 = 9_000_000_000;
/// What stands for a missing size and precision, as on the wire: 1 m, 10 km, 10 m.
const DEFAULTS: [u8; 3] = [0x12, 0x16, 0x13];

const WANT_ANGLE: &str = "degrees, then minutes and seconds if wanted, then N or S (up to 90), E or W (up to 180)";
const WANT_ALTITUDE: &str = "metres from -100000.00 to 42849672.95";
const WANT_SIZE: &str = "metres from 0.00 to 90000000.00";

/// An axis: its name in errors, the letters of its positive and negative side, its largest angle in degrees.
struct Axis(&'static str, char, char, i64);

const LATITUDE: Axis = Axis("LATITUDE", 'N', 'S', 90);
const LONGITUDE: Axis = Axis("LONGITUDE", 'E', 'W', 180);

/// Reads a position.
pub(super) fn read(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let latitude = angle(&LATITUDE, tokens)?;
    let longitude = angle(&LONGITUDE, tokens)?;
    tokens.label = "ALTITUDE";
    let token = tokens.word()?;
    let altitude = metres(token.raw).and_then(|altitude| u32::try_from(altitude + SEA_LEVEL).ok());
    let altitude = altitude.ok_or_else(|| tokens.not(token, WANT_ALTITUDE))?;
    rdata.push(VERSION);
    for (label, default) in ["SIZE", "HORIZONTAL-PRECISION", "VERTICAL-PRECISION"].into_iter().zip(DEFAULTS) {
        tokens.label = label;
        let size = match tokens.next_word()? {
            Some(token) => size(token.raw).ok_or_else(|| tokens.not(token, WANT_SIZE))?,
            None => default,
        };
        rdata.push(size);
    }
    for value in [latitude, longitude, altitude] {
        rdata.extend_from_slice(&value.to_be_bytes());
    }
    Ok(())
}

fn angle(axis: &Axis, tokens: &mut Tokens<'_>) -> Result<u32, Fault> {
    let Axis(label, positive, negative, max) = *axis;
    tokens.label = label;
    let (mut size, mut parts) = (0, 0);
    loop {
        let token = tokens.word()?;
        let side = [(positive, 1), (negative, -1)].into_iter().find(|&(letter, _)| is_letter(token, letter));
        if let Some((_, sign)) = side.filter(|_| parts > 0) {
            let value = u32::try_from(EQUATOR + sign * size).ok().filter(|_| size <= max * DEGREE);
            return value.ok_or_else(|| tokens.not(token, WANT_ANGLE));
        }
        size += angle_part(parts, token.raw).ok_or_else(|| tokens.not(token, WANT_ANGLE))?;
        parts += 1;
    }
}

fn is_letter(token: Token<'_>, letter: char) -> bool {
    token.raw.chars().eq([letter]) || token.raw.chars().eq([letter.to_ascii_lowercase()])
}

/// Degrees, minutes or seconds in thousandths of a second; a fourth part does not exist.
fn angle_part(part: u32, text: &str) -> Option<i64> {
    let whole = |max| decimal(text, max).and_then(|value| i64::try_from(value).ok());
    match part {
        0 => whole(180).map(|degrees| degrees * DEGREE),
        1 => whole(59).map(|minutes| minutes * 60_000),
        2 => fixed(text, 3).filter(|seconds| (0..60_000).contains(seconds)),
        _ => None,
    }
}

/// Metres with up to two decimals and perhaps an `m` behind, in centimetres.
fn metres(text: &str) -> Option<i64> {
    fixed(text.strip_suffix(['m', 'M']).unwrap_or(text), 2)
}

/// A decimal fraction with at most so many decimals, as a multiple of the last one.
fn fixed(text: &str, decimals: usize) -> Option<i64> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.len() > decimals || whole.len() > 10 {
        return None;
    }
    let whole = i64::try_from(decimal(whole, u64::MAX)?).ok()?;
    let fraction = i64::try_from(decimal(&format!("{fraction:0<decimals$}"), u64::MAX)?).ok()?;
    let scale = (0..decimals).fold(1, |scale, _| scale * 10);
    Some(sign * (whole * scale + fraction))
}

fn size(text: &str) -> Option<u8> {
    let mut digit = metres(text).filter(|size| (0..=SIZE_MAX).contains(size))?;
    let mut power = 0;
    while digit > 9 {
        digit /= 10;
        power += 1;
    }
    u8::try_from(digit << 4 | power).ok()
}

/// Prints a position.
pub(super) fn present(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    if wire.u8()? != VERSION {
        return None;
    }
    let sizes = wire.array::<3>()?;
    for axis in [LATITUDE, LONGITUDE] {
        let Axis(_, positive, negative, max) = axis;
        let angle = i64::from(wire.u32()?) - EQUATOR;
        let (size, letter) = (angle.abs(), if angle < 0 { negative } else { positive });
        if size > max * DEGREE {
            return None;
        }
        let (degrees, minutes, thousandths) = (size / DEGREE, size / 60_000 % 60, size % 60_000);
        words.word(format_args!("{degrees} {minutes} {}.{:03} {letter}", thousandths / 1000, thousandths % 1000));
    }
    let altitude = i64::from(wire.u32()?) - SEA_LEVEL;
    let sign = if altitude < 0 { "-" } else { "" };
    words.word(format_args!("{sign}{}m", Metres(altitude.unsigned_abs())));
    for size in sizes {
        let (digit, power) = (u64::from(size >> 4), u32::from(size & 0xf));
        if digit > 9 || power > 9 || (digit == 0 && power > 0) {
            return None;
        }
        words.word(format_args!("{}m", Metres(digit * 10_u64.pow(power))));
    }
    Some(())
}

/// Centimetres, printed as metres.
struct Metres(u64);

impl std::fmt::Display for Metres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}
