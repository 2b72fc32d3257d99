//! Names between presentation form and wire labels.

/// Presentation form (RFC 1035 §5.1, with `\DDD` and `\X`) to uncompressed wire form, always absolute.
pub(crate) fn name(text: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut label = Vec::new();
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'.' => {
                if !label.is_empty() {
                    push_label(&mut wire, &std::mem::take(&mut label));
                }
            }
            b'\\' => {
                let first = bytes.next().expect("something after the backslash");
                if first.is_ascii_digit() {
                    let digits = [first, bytes.next().unwrap(), bytes.next().unwrap()];
                    label.push(std::str::from_utf8(&digits).unwrap().parse().expect("three decimal digits"));
                } else {
                    label.push(first);
                }
            }
            other => label.push(other),
        }
    }
    if !label.is_empty() {
        push_label(&mut wire, &label);
    }
    wire.push(0);
    wire
}

fn push_label(wire: &mut Vec<u8>, label: &[u8]) {
    assert!(label.len() < 64, "label too long: {label:?}");
    wire.push(label.len() as u8);
    wire.extend_from_slice(label);
}

pub(crate) fn show_name(wire: &[u8]) -> String {
    let mut text = String::new();
    let mut at = 0;
    while wire[at] != 0 {
        let end = at + 1 + wire[at] as usize;
        for &byte in &wire[at + 1..end] {
            match byte {
                b'.' | b'\\' | b'"' => text.extend(['\\', byte as char]),
                0x21..=0x7e => text.push(byte as char),
                other => text.push_str(&format!("\\{other:03}")),
            }
        }
        text.push('.');
        at = end;
    }
    if text.len() > 1 {
        text.pop();
    }
    if text.is_empty() { ".".to_owned() } else { text }
}
