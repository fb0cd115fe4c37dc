//! Sizes in bytes as people write them: `64MiB`, `1 GiB`, `4096`.

/// A text that is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no size; write a whole number with B, KiB, MiB or GiB, such as 64MiB")]
pub struct ParseSizeError;

/// The units, largest first, and how many bytes each has.
const UNITS: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("B", 1),
    ("", 1),
];

/// Reads a size. `Ki`, `Mi` and `Gi` are Kubernetes's way to write the same.
///
/// # Errors
/// [`ParseSizeError`] for anything else, and for more than 2^64 bytes.
pub fn parse_size(text: &str) -> Result<u64, ParseSizeError> {
    for (unit, bytes) in UNITS {
        let Some(number) = text.strip_suffix(unit) else {
            continue;
        };
        let number = number.trim_end();
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParseSizeError);
        }
        let number: u64 = number.parse().map_err(|_| ParseSizeError)?;
        return number.checked_mul(bytes).ok_or(ParseSizeError);
    }
    Err(ParseSizeError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_whole_numbers_with_binary_units() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("12B", 12),
            ("4KiB", 4096),
            ("64MiB", 64 << 20),
            ("64 MiB", 64 << 20),
            ("2GiB", 2 << 30),
            ("512Mi", 512 << 20),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for bad in [
            "",
            "MiB",
            "-1",
            "+1",
            "1.5GiB",
            "64MB",
            "64mib",
            "64M",
            "1e3",
            "99999999999GiB",
            "99999999999999999999",
            "64MiB ",
            "６４",
        ] {
            assert_eq!(parse_size(bad), Err(ParseSizeError), "{bad:?}");
        }
    }
}
