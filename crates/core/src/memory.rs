//! Amounts of memory in the JVM's spelling, as Spark reads them.

/// Why a text is not an amount of memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMemory {
    /// Nothing there, or no digits first.
    #[error("must be a whole number with an optional unit k, m, g, t or p, like `2g` or `2048m`")]
    Malformed,
    /// Fractions: Spark refuses them too.
    #[error("must be a whole number; write `1536m` for one and a half gibibytes")]
    Fraction,
    /// Zero bytes.
    #[error("must be more than 0")]
    Zero,
    /// More than 2^63 bytes.
    #[error("is larger than any machine")]
    TooLarge,
}

/// One kibibyte, in bytes.
pub const KIB: u64 = 1 << 10;
/// One mebibyte, in bytes.
pub const MIB: u64 = 1 << 20;
/// One gibibyte, in bytes.
pub const GIB: u64 = 1 << 30;

/// Reads `2g`, `2048m`, `2048000k`, `1t`, `512b`, with `kb`, `gib` … as Spark's `JavaUtils.byteStringAs` does.
///
/// A number without a unit counts `bare_unit` bytes: 1 MiB for `spark.executor.memory`, 1 for plain sizes.
///
/// # Errors
/// Says what is wrong with the text, ready to be shown after the field's name.
pub fn parse(text: &str, bare_unit: u64) -> Result<u64, NotMemory> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(NotMemory::Malformed);
    }
    if unit.starts_with('.') {
        return Err(NotMemory::Fraction);
    }
    let factor = match unit {
        "" => bare_unit,
        "b" => 1,
        "k" | "kb" | "kib" => KIB,
        "m" | "mb" | "mib" => MIB,
        "g" | "gb" | "gib" => GIB,
        "t" | "tb" | "tib" => GIB << 10,
        "p" | "pb" | "pib" => GIB << 20,
        _ => return Err(NotMemory::Malformed),
    };
    let number: u64 = number.parse().map_err(|_| NotMemory::TooLarge)?;
    let bytes =
        number.checked_mul(factor).filter(|b| i64::try_from(*b).is_ok()).ok_or(NotMemory::TooLarge)?;
    if bytes == 0 { Err(NotMemory::Zero) } else { Ok(bytes) }
}

/// Prints an amount with the largest unit that leaves at most one decimal: `2 GiB`, `1.5 GiB`, `384 MiB`.
pub fn display(bytes: u64) -> String {
    for (unit, name) in [(GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")] {
        if bytes >= unit {
            let tenths = bytes.saturating_mul(10) / unit;
            return if tenths.is_multiple_of(10) {
                format!("{} {name}", tenths / 10)
            } else {
                format!("{}.{} {name}", tenths / 10, tenths % 10)
            };
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_of_the_reference_is_read() {
        // contract: R1
        for (text, bytes) in [
            ("2g", 2 * GIB),
            ("2G", 2 * GIB),
            ("2gb", 2 * GIB),
            ("2GiB", 2 * GIB),
            ("2048m", 2 * GIB),
            ("2048000k", 2_048_000 * KIB),
            ("1t", 1024 * GIB),
            ("1024", GIB),
            (" 512m ", 512 * MIB),
            ("1048576b", MIB),
        ] {
            assert_eq!(parse(text, MIB), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_a_reason() {
        for (text, why) in [
            ("2x", NotMemory::Malformed),
            ("", NotMemory::Malformed),
            ("g", NotMemory::Malformed),
            ("-1g", NotMemory::Malformed),
            ("1.5g", NotMemory::Fraction),
            ("0g", NotMemory::Zero),
            ("99999999999g", NotMemory::TooLarge),
            ("99999999999999999999999", NotMemory::TooLarge),
            ("2 g", NotMemory::Malformed),
        ] {
            assert_eq!(parse(text, MIB), Err(why), "{text}");
        }
    }

    #[test]
    fn amounts_are_printed_for_people() {
        assert_eq!(display(2 * GIB), "2 GiB");
        assert_eq!(display(1536 * MIB), "1.5 GiB");
        assert_eq!(display(10), "10 bytes");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = parse(&text, MIB);
        }
    }
}
