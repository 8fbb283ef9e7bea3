//! Decodes Spark's VARIANT values into JSON.
//!
//! The encoding is that of the Parquet format's `VariantEncoding.md`, which Spark shares: a metadata block with
//! the dictionary of field names, and a value whose first byte says what it is. Both come from the server and
//! are still read with every bound checked.

use super::{clock, json};

/// A decimal of at most so many digits comes back from the double that most readers of JSON make of it.
const MAX_EXACT_DECIMAL: u128 = 999_999_999_999_999;
/// Objects and arrays nested deeper than this are not followed.
const MAX_DEPTH: usize = 500;

/// A VARIANT that can't be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a VARIANT value of the result can't be decoded")]
pub(super) struct Malformed;

type Decoded<T> = Result<T, Malformed>;

/// Appends the JSON value of a variant.
///
/// Whole numbers beyond 2^53 are strings, as in any other column, and so are decimals of more than 15 digits.
pub(super) fn write(metadata: &[u8], value: &[u8], out: &mut Vec<u8>) -> Decoded<()> {
    let header = *metadata.first().ok_or(Malformed)?;
    let names = Names::read(metadata, usize::from(header >> 6) + 1)?;
    element(&names, value, MAX_DEPTH, out)
}

/// The dictionary of field names.
struct Names<'a> {
    offset_size: usize,
    count: usize,
    offsets: &'a [u8],
    text: &'a [u8],
}

impl<'a> Names<'a> {
    fn read(metadata: &'a [u8], offset_size: usize) -> Decoded<Self> {
        let count = unsigned(metadata, 1, offset_size)?;
        let start = 1 + offset_size;
        let length = count.checked_add(1).and_then(|n| n.checked_mul(offset_size)).ok_or(Malformed)?;
        let offsets = slice(metadata, start, length)?;
        let text = metadata.get(start + length..).ok_or(Malformed)?;
        Ok(Self { offset_size, count, offsets, text })
    }

    fn get(&self, id: usize) -> Decoded<&'a str> {
        if id >= self.count {
            return Err(Malformed);
        }
        let start = unsigned(self.offsets, id * self.offset_size, self.offset_size)?;
        let end = unsigned(self.offsets, (id + 1) * self.offset_size, self.offset_size)?;
        utf8(self.text.get(start..end).ok_or(Malformed)?)
    }
}

fn element(names: &Names<'_>, value: &[u8], depth: usize, out: &mut Vec<u8>) -> Decoded<()> {
    let header = *value.first().ok_or(Malformed)?;
    let depth = depth.checked_sub(1).ok_or(Malformed)?;
    let info = header >> 2;
    match header & 3 {
        0 => primitive(info, value, out),
        1 => {
            json::string(utf8(slice(value, 1, usize::from(info))?)?, out);
            Ok(())
        }
        2 => object(names, info, value, depth, out),
        _ => array(names, info, value, depth, out),
    }
}

fn primitive(kind: u8, value: &[u8], out: &mut Vec<u8>) -> Decoded<()> {
    match kind {
        0 => out.extend_from_slice(b"null"),
        1 => out.extend_from_slice(b"true"),
        2 => out.extend_from_slice(b"false"),
        3 => json::integer(i64::from(i8::from_le_bytes(fixed(value, 1)?)), out),
        4 => json::integer(i64::from(i16::from_le_bytes(fixed(value, 1)?)), out),
        5 => json::integer(i64::from(i32::from_le_bytes(fixed(value, 1)?)), out),
        6 => json::integer(i64::from_le_bytes(fixed(value, 1)?), out),
        7 => json::double(f64::from_le_bytes(fixed(value, 1)?), out),
        8 => decimal(i128::from(i32::from_le_bytes(fixed(value, 2)?)), value, out)?,
        9 => decimal(i128::from(i64::from_le_bytes(fixed(value, 2)?)), value, out)?,
        10 => decimal(i128::from_le_bytes(fixed(value, 2)?), value, out)?,
        11 => quoted(out, |out| {
            clock::date(i64::from(i32::from_le_bytes(fixed(value, 1)?)), out);
            Ok(())
        })?,
        12 | 13 | 18 | 19 => quoted(out, |out| {
            let per_second = if kind < 18 { 1_000_000 } else { 1_000_000_000 };
            clock::timestamp(i64::from_le_bytes(fixed(value, 1)?), per_second, out);
            if matches!(kind, 12 | 18) {
                out.push(b'Z');
            }
            Ok(())
        })?,
        14 => json::float(f32::from_le_bytes(fixed(value, 1)?), out),
        15 => json::base64(slice(value, 5, unsigned(value, 1, 4)?)?, out),
        16 => json::string(utf8(slice(value, 5, unsigned(value, 1, 4)?)?)?, out),
        17 => quoted(out, |out| {
            let micros = i64::from_le_bytes(fixed(value, 1)?);
            clock::time_of_day(micros.checked_mul(1_000).ok_or(Malformed)?, out);
            Ok(())
        })?,
        20 => json::string(&uuid::Uuid::from_bytes(fixed(value, 1)?).to_string(), out),
        _ => return Err(Malformed),
    }
    Ok(())
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Decoded<()>) -> Decoded<()> {
    out.push(b'"');
    write(out)?;
    out.push(b'"');
    Ok(())
}

fn decimal(unscaled: i128, value: &[u8], out: &mut Vec<u8>) -> Decoded<()> {
    let scale = u32::from(*value.get(1).ok_or(Malformed)?);
    let most = if scale == 0 { u128::from(json::MAX_EXACT) } else { MAX_EXACT_DECIMAL };
    if unscaled.unsigned_abs() <= most {
        json::decimal(unscaled, scale, out);
        return Ok(());
    }
    quoted(out, |out| {
        json::decimal(unscaled, scale, out);
        Ok(())
    })
}

fn object(names: &Names<'_>, info: u8, value: &[u8], depth: usize, out: &mut Vec<u8>) -> Decoded<()> {
    let offset_size = usize::from(info & 3) + 1;
    let id_size = usize::from(info >> 2 & 3) + 1;
    let count_size = if info >> 4 & 1 == 1 { 4 } else { 1 };
    let count = unsigned(value, 1, count_size)?;
    let ids = 1 + count_size;
    let offsets = count.checked_mul(id_size).and_then(|n| n.checked_add(ids)).ok_or(Malformed)?;
    let data = data_start(offsets, count, offset_size)?;
    out.push(b'{');
    for at in 0..count {
        if at > 0 {
            out.push(b',');
        }
        json::string(names.get(unsigned(value, ids + at * id_size, id_size)?)?, out);
        out.push(b':');
        let offset = unsigned(value, offsets + at * offset_size, offset_size)?;
        element(names, value.get(data + offset..).ok_or(Malformed)?, depth, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn array(names: &Names<'_>, info: u8, value: &[u8], depth: usize, out: &mut Vec<u8>) -> Decoded<()> {
    let offset_size = usize::from(info & 3) + 1;
    let count_size = if info >> 2 & 1 == 1 { 4 } else { 1 };
    let count = unsigned(value, 1, count_size)?;
    let offsets = 1 + count_size;
    let data = data_start(offsets, count, offset_size)?;
    out.push(b'[');
    for at in 0..count {
        if at > 0 {
            out.push(b',');
        }
        let offset = unsigned(value, offsets + at * offset_size, offset_size)?;
        element(names, value.get(data + offset..).ok_or(Malformed)?, depth, out)?;
    }
    out.push(b']');
    Ok(())
}

/// Where the elements begin: after `count` + 1 offsets.
fn data_start(offsets: usize, count: usize, offset_size: usize) -> Decoded<usize> {
    count
        .checked_add(1)
        .and_then(|n| n.checked_mul(offset_size))
        .and_then(|n| n.checked_add(offsets))
        .ok_or(Malformed)
}

/// `size` (1–4) bytes as a little-endian number.
fn unsigned(bytes: &[u8], at: usize, size: usize) -> Decoded<usize> {
    let mut number = 0;
    for (shift, byte) in slice(bytes, at, size)?.iter().enumerate() {
        number |= usize::from(*byte) << (8 * shift);
    }
    Ok(number)
}

fn slice(bytes: &[u8], at: usize, length: usize) -> Decoded<&[u8]> {
    bytes.get(at..at.checked_add(length).ok_or(Malformed)?).ok_or(Malformed)
}

fn fixed<const N: usize>(bytes: &[u8], at: usize) -> Decoded<[u8; N]> {
    slice(bytes, at, N)?.try_into().map_err(|_| Malformed)
}

fn utf8(bytes: &[u8]) -> Decoded<&str> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_NAMES: [u8; 3] = [1, 0, 0];

    fn show(metadata: &[u8], value: &[u8]) -> Decoded<String> {
        let mut out = Vec::new();
        write(metadata, value, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn scalar(kind: u8, rest: &[u8]) -> String {
        show(&NO_NAMES, &[&[kind << 2], rest].concat()).unwrap()
    }

    #[test]
    fn scalars_are_decoded() {
        assert_eq!(scalar(0, &[]), "null");
        assert_eq!(scalar(1, &[]), "true");
        assert_eq!(scalar(3, &[0xff]), "-1");
        assert_eq!(scalar(6, &i64::MAX.to_le_bytes()), "\"9223372036854775807\"");
        assert_eq!(scalar(7, &1.5_f64.to_le_bytes()), "1.5");
        assert_eq!(scalar(8, &[&[2][..], &(-150_i32).to_le_bytes()].concat()), "-1.50");
        assert_eq!(
            scalar(10, &[&[1][..], &(1_i128 << 60).to_le_bytes()].concat()),
            "\"115292150460684697.6\""
        );
        let millionths = |unscaled: i64| scalar(9, &[&[6][..], &unscaled.to_le_bytes()].concat());
        assert_eq!(millionths(999_999_999_999_999), "999999999.999999");
        assert_eq!(
            millionths(8_007_199_254_740_993),
            "\"8007199254.740993\"",
            "a double has another last digit"
        );
        assert_eq!(scalar(11, &1_i32.to_le_bytes()), "\"1970-01-02\"");
        assert_eq!(scalar(12, &1_500_000_i64.to_le_bytes()), "\"1970-01-01T00:00:01.5Z\"");
        assert_eq!(scalar(13, &0_i64.to_le_bytes()), "\"1970-01-01T00:00:00\"");
        assert_eq!(scalar(15, &[&2_u32.to_le_bytes()[..], b"ab"].concat()), "\"YWI=\"");
        assert_eq!(scalar(20, &[0; 16]), "\"00000000-0000-0000-0000-000000000000\"");
        assert_eq!(show(&NO_NAMES, &[(2 << 2) | 1, b'h', b'i']).unwrap(), "\"hi\"");
    }

    #[test]
    fn objects_and_arrays_are_decoded() {
        // Names `a`, `b`; {"a": [1, null], "b": "x"}.
        let metadata = [1, 2, 0, 1, 2, b'a', b'b'];
        let list = [3, 2, 0, 2, 3, 3 << 2, 1, 0];
        let text = [(1 << 2) | 1, b'x'];
        let head = [2, 2, 0, 1, 0, 8, 10];
        let value = [&head[..], &list[..], &text[..]].concat();
        assert_eq!(show(&metadata, &value).unwrap(), r#"{"a":[1,null],"b":"x"}"#);
    }

    #[test]
    fn broken_values_are_refused() {
        assert_eq!(show(&[], &[0]), Err(Malformed));
        assert_eq!(show(&NO_NAMES, &[]), Err(Malformed));
        assert_eq!(show(&NO_NAMES, &[6 << 2, 1]), Err(Malformed));
        assert_eq!(show(&NO_NAMES, &[2, 1, 9, 0, 1, 0]), Err(Malformed));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(metadata: Vec<u8>, value: Vec<u8>) {
            let _ = show(&metadata, &value);
            let _ = show(&NO_NAMES, &value);
        }
    }
}
