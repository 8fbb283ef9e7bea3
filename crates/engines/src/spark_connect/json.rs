//! The pieces of JSON that rows are written with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::clock::print;

/// Integers beyond this (2^53) are no longer exact in JavaScript and are written as strings (contract A2).
pub(super) const MAX_EXACT: u64 = 1 << 53;

/// Appends a JSON string.
pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escape(text, out);
    out.push(b'"');
}

/// Appends the inside of a JSON string.
pub(super) fn escape(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[copied..at]);
        copied = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => print(out, format_args!("\\u{other:04x}")),
        }
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// Appends bytes as a base64 string.
pub(super) fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
    out.push(b'"');
}

/// Appends a whole number, as a string beyond 2^53.
pub(super) fn integer(number: i64, out: &mut Vec<u8>) {
    if number.unsigned_abs() <= MAX_EXACT {
        print(out, format_args!("{number}"));
    } else {
        print(out, format_args!("\"{number}\""));
    }
}

/// Appends a double by its shortest text that reads back; NaN and infinities as strings.
pub(super) fn double(number: f64, out: &mut Vec<u8>) {
    if number.is_finite() {
        print(out, format_args!("{number:?}"));
    } else {
        not_finite(number.is_nan(), number.is_sign_positive(), out);
    }
}

/// Appends a float by its shortest text that reads back as a float.
pub(super) fn float(number: f32, out: &mut Vec<u8>) {
    if number.is_finite() {
        print(out, format_args!("{number:?}"));
    } else {
        not_finite(number.is_nan(), number.is_sign_positive(), out);
    }
}

fn not_finite(nan: bool, positive: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(match (nan, positive) {
        (true, _) => b"\"NaN\"",
        (false, true) => b"\"Infinity\"",
        (false, false) => b"\"-Infinity\"",
    });
}

/// Appends `unscaled × 10^-scale` in plain digits, all `scale` decimals shown.
pub(super) fn decimal(unscaled: i128, scale: u32, out: &mut Vec<u8>) {
    if unscaled < 0 {
        out.push(b'-');
    }
    let digits = unscaled.unsigned_abs().to_string();
    let scale = scale as usize;
    if scale == 0 {
        out.extend_from_slice(digits.as_bytes());
    } else if digits.len() > scale {
        let (whole, part) = digits.split_at(digits.len() - scale);
        print(out, format_args!("{whole}.{part}"));
    } else {
        print(out, format_args!("0.{digits:0>scale$}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_keep_their_value() {
        // contract: A2
        assert_eq!(text(|o| integer(9_007_199_254_740_992, o)), "9007199254740992");
        assert_eq!(text(|o| integer(9_007_199_254_740_993, o)), "\"9007199254740993\"");
        assert_eq!(text(|o| integer(i64::MIN, o)), "\"-9223372036854775808\"");
        assert_eq!(text(|o| double(f64::NAN, o)), "\"NaN\"");
        assert_eq!(text(|o| double(f64::NEG_INFINITY, o)), "\"-Infinity\"");
        assert_eq!(text(|o| double(1.0, o)), "1.0");
        assert_eq!(text(|o| double(1e300, o)), "1e300");
        assert_eq!(text(|o| float(0.1, o)), "0.1");
        assert_eq!(text(|o| decimal(-5, 2, o)), "-0.05");
        assert_eq!(text(|o| decimal(12_345, 2, o)), "123.45");
        assert_eq!(text(|o| decimal(0, 2, o)), "0.00");
        assert_eq!(text(|o| base64(b"ab", o)), "\"YWI=\"");
    }

    proptest::proptest! {
        #[test]
        fn strings_read_back(value in "\\PC*|[\\x00-\\x7f]*") {
            let read: String = serde_json::from_str(&text(|o| string(&value, o))).unwrap();
            proptest::prop_assert_eq!(read, value);
        }

        #[test]
        fn doubles_read_back(number in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO) {
            let written = text(|o| double(number, o));
            serde_json::from_str::<serde_json::Value>(&written).unwrap();
            proptest::prop_assert_eq!(written.parse::<f64>().unwrap().to_bits(), number.to_bits());
        }

        #[test]
        fn binary_reads_back(bytes: Vec<u8>) {
            let read: String = serde_json::from_str(&text(|o| base64(&bytes, o))).unwrap();
            proptest::prop_assert_eq!(STANDARD.decode(read).unwrap(), bytes);
        }
    }
}
