//! Sizes and times as people type them.

use std::{ops::RangeInclusive, time::Duration};

use jiff::{
    SignedDuration, Timestamp, Zoned,
    civil::{DateTime, Time},
};

use crate::model::verify::Bound;

/// Why a size or a time was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// It does not begin with a number.
    #[error("expected a number such as {0}")]
    NoNumber(&'static str),
    /// The unit is not one of them.
    #[error("unknown unit {unit:?}: use {known}")]
    UnknownUnit {
        /// What was typed.
        unit: String,
        /// What could have been.
        known: &'static str,
    },
    /// It does not fit.
    #[error("too large")]
    TooLarge,
    /// A size or a time that has to be within bounds.
    #[error("must be from {0} to {1}")]
    OutOfRange(&'static str, &'static str),
    /// It is no time.
    #[error(
        "expected how long ago, such as 3h, or a time such as 03:10, \"2026-03-01 03:10\" or 2026-03-01T03:10:00Z"
    )]
    NoInstant,
    /// A number that has to be a power of two.
    #[error("must be a power of two from {0} to {1}")]
    NotPowerOfTwo(u64, u64),
}

const SIZE_UNITS: &str = "B, KiB, MiB, GiB, TiB (of 1024) or kB, MB, GB, TB (of 1000)";
const TIME_UNITS: &str = "ms, s, m, h or d";

/// `4096`, `64KiB`, `64K`, `1GB`.
pub fn size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = leading_number(text, "64KiB")?;
    let scale: u64 = match unit {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "T" | "TiB" => 1 << 40,
        "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(UnitError::UnknownUnit { unit: unit.to_owned(), known: SIZE_UNITS }),
    };
    number.checked_mul(scale).ok_or(UnitError::TooLarge)
}

/// `90` (seconds), `500ms`, `3m`, `1h30m`.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    loop {
        let (number, after) = leading_number(rest, "3m")?;
        let unit_len = after.find(|character: char| character.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_len);
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(UnitError::UnknownUnit { unit: unit.to_owned(), known: TIME_UNITS }),
        };
        let part = number.checked_mul(milliseconds).ok_or(UnitError::TooLarge)?;
        total = total.checked_add(Duration::from_millis(part)).ok_or(UnitError::TooLarge)?;
        if next.is_empty() {
            return Ok(total);
        }
        rest = next;
    }
}

/// A time that has passed: `3h` or `3m ago`, `03:10` (the last time that it was so late), `2026-03-01 03:10` (both by the clock of
/// `now`), or with a time zone, as in RFC 3339.
pub fn instant(text: &str, now: &Zoned) -> Result<Timestamp, UnitError> {
    let text = text.trim();
    if text == "now" {
        return Ok(now.timestamp());
    }
    if let Ok(ago) = duration(text.strip_suffix("ago").unwrap_or(text).trim_end()) {
        let ago = SignedDuration::try_from(ago).map_err(|_| UnitError::TooLarge)?;
        return now.timestamp().checked_sub(ago).map_err(|_| UnitError::TooLarge);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let at = |local: DateTime| {
        local
            .to_zoned(now.time_zone().clone())
            .map(|zoned| zoned.timestamp())
            .map_err(|_| UnitError::TooLarge)
    };
    // First, as a time of day is read from a whole date as well.
    if let Ok(time) = text.parse::<DateTime>() {
        return at(time);
    }
    let time: Time = text.parse().map_err(|_| UnitError::NoInstant)?;
    let today = at(now.date().to_datetime(time))?;
    if today <= now.timestamp() {
        return Ok(today);
    }
    at(now.date().yesterday().map_err(|_| UnitError::TooLarge)?.to_datetime(time))
}

/// What is possible between two looks.
pub const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// A time between two looks: from a tenth of a second to an hour.
pub fn interval(text: &str) -> Result<Duration, UnitError> {
    let duration = duration(text)?;
    if INTERVALS.contains(&duration) { Ok(duration) } else { Err(UnitError::OutOfRange("100ms", "1h")) }
}

/// A size of the ring buffer: a power of two from a page to 1 GiB.
pub fn ring_bytes(text: &str) -> Result<u32, UnitError> {
    power_of_two(size(text)?, 4096, 1 << 30)
}

/// A number of sets for pairs: a power of two up to 2^20 (480 MiB).
pub fn pair_sets(text: &str) -> Result<u32, UnitError> {
    power_of_two(size(text)?, 1, 1 << 20)
}

/// Bytes of the lab's file: from one transfer to what a process can map in parts (`vm.max_map_count`).
pub fn lab_bytes(text: &str) -> Result<u64, UnitError> {
    let (low, high) = (64 << 10, 1 << 30);
    let bytes = size(text)?;
    if (low..=high).contains(&bytes) { Ok(bytes) } else { Err(UnitError::OutOfRange("64KiB", "1GiB")) }
}

/// How much may be copied: a size, or `0.5%`.
pub fn bound(text: &str) -> Result<Bound, UnitError> {
    let Some(percent) = text.strip_suffix('%') else { return size(text).map(Bound::Bytes) };
    let (whole, rest) = leading_number(percent, "0.5%")?;
    let thousandths = match rest.strip_prefix('.') {
        None if rest.is_empty() => 0,
        Some(digits) if (1..=3).contains(&digits.len()) => {
            leading_number(digits, "0.5%")?;
            let digits: u64 = format!("{digits:0<3}").parse().map_err(|_| UnitError::NoNumber("0.5%"))?;
            digits
        }
        _ => return Err(UnitError::NoNumber("0.5%")),
    };
    let bound = whole.checked_mul(1000).and_then(|whole| whole.checked_add(thousandths));
    bound.map(Bound::Share).ok_or(UnitError::TooLarge)
}

fn power_of_two(value: u64, low: u64, high: u64) -> Result<u32, UnitError> {
    u32::try_from(value)
        .ok()
        .filter(|_| value.is_power_of_two() && (low..=high).contains(&value))
        .ok_or(UnitError::NotPowerOfTwo(low, high))
}

fn leading_number<'a>(text: &'a str, example: &'static str) -> Result<(u64, &'a str), UnitError> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    if number.is_empty() {
        return Err(UnitError::NoNumber(example));
    }
    Ok((number.parse().map_err(|_| UnitError::TooLarge)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_have_passed() {
        let now: Zoned = "2026-03-01T12:00:00+01:00[Europe/Berlin]".parse().expect("a time");
        for (text, expected) in [
            ("now", "2026-03-01T11:00:00Z"),
            ("3h", "2026-03-01T08:00:00Z"),
            ("90m ago", "2026-03-01T09:30:00Z"),
            ("03:10", "2026-03-01T02:10:00Z"),
            ("13:00", "2026-02-28T12:00:00Z"),
            ("2026-02-01 03:10", "2026-02-01T02:10:00Z"),
            ("2026-02-01", "2026-01-31T23:00:00Z"),
            ("2026-02-01T03:10:00Z", "2026-02-01T03:10:00Z"),
            ("2026-02-01T03:10:00-05:00", "2026-02-01T08:10:00Z"),
        ] {
            assert_eq!(instant(text, &now).map(|time| time.to_string()), Ok(expected.to_owned()), "{text}");
        }
        for text in ["", "soon", "25:00", "-3h", "2026-13-01"] {
            assert!(instant(text, &now).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        let table = [
            ("0", Ok(0)),
            ("4096", Ok(4096)),
            ("7B", Ok(7)),
            ("64KiB", Ok(65_536)),
            ("64K", Ok(65_536)),
            ("3MiB", Ok(3 << 20)),
            ("2GB", Ok(2_000_000_000)),
            ("1T", Ok(1 << 40)),
            ("", Err(UnitError::NoNumber("64KiB"))),
            ("-1", Err(UnitError::NoNumber("64KiB"))),
            ("KiB", Err(UnitError::NoNumber("64KiB"))),
            ("99999999999999999999", Err(UnitError::TooLarge)),
            ("99999999999T", Err(UnitError::TooLarge)),
        ];
        for (text, expected) in table {
            assert_eq!(size(text), expected, "{text}");
        }
        assert!(matches!(size("5 KiB"), Err(UnitError::UnknownUnit { .. })));
        assert!(matches!(size("1.5MiB"), Err(UnitError::UnknownUnit { .. })));
        assert!(matches!(size("5kib"), Err(UnitError::UnknownUnit { .. })));
    }

    #[test]
    fn times_are_sums_of_parts() {
        let table = [
            ("90", 90_000),
            ("500ms", 500),
            ("3m", 180_000),
            ("1h30m", 5_400_000),
            ("1m30", 90_000),
            ("2d", 172_800_000),
            ("0", 0),
        ];
        for (text, milliseconds) in table {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        assert!(matches!(duration("3 m"), Err(UnitError::UnknownUnit { .. })));
        assert_eq!(duration("m"), Err(UnitError::NoNumber("3m")));
        assert_eq!(duration("99999999999999999d"), Err(UnitError::TooLarge));
    }

    #[test]
    fn times_between_looks_have_bounds() {
        assert_eq!(interval("1"), Ok(Duration::from_secs(1)));
        assert_eq!(interval("1h"), Ok(Duration::from_secs(3600)));
        for text in ["0", "99ms", "61m"] {
            assert_eq!(interval(text), Err(UnitError::OutOfRange("100ms", "1h")), "{text}");
        }
    }

    #[test]
    fn the_file_of_the_lab_has_bounds() {
        assert_eq!(lab_bytes("64KiB"), Ok(65_536));
        assert_eq!(lab_bytes("100001"), Ok(100_001));
        for text in ["0", "65535", "2GiB"] {
            assert_eq!(lab_bytes(text), Err(UnitError::OutOfRange("64KiB", "1GiB")), "{text}");
        }
    }

    #[test]
    fn what_may_be_copied_is_a_size_or_a_share() {
        let table = [
            ("0", Ok(Bound::Bytes(0))),
            ("64KiB", Ok(Bound::Bytes(65_536))),
            ("10%", Ok(Bound::Share(10_000))),
            ("0.5%", Ok(Bound::Share(500))),
            ("12.345%", Ok(Bound::Share(12_345))),
            ("200.01%", Ok(Bound::Share(200_010))),
            ("%", Err(UnitError::NoNumber("0.5%"))),
            ("1.%", Err(UnitError::NoNumber("0.5%"))),
            ("1.2345%", Err(UnitError::NoNumber("0.5%"))),
            ("1.x%", Err(UnitError::NoNumber("0.5%"))),
            ("1.5x%", Err(UnitError::NoNumber("0.5%"))),
            ("-1%", Err(UnitError::NoNumber("0.5%"))),
            ("99999999999999999999%", Err(UnitError::TooLarge)),
        ];
        for (text, expected) in table {
            assert_eq!(bound(text), expected, "{text}");
        }
    }

    #[test]
    fn maps_that_need_a_power_of_two_get_one() {
        assert_eq!(ring_bytes("8MiB"), Ok(8 << 20));
        assert_eq!(pair_sets("4096"), Ok(4096));
        for text in ["0", "1KiB", "12KiB", "2GiB", "1T"] {
            assert_eq!(ring_bytes(text), Err(UnitError::NotPowerOfTwo(4096, 1 << 30)), "{text}");
        }
    }
}
