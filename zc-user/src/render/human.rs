//! Numbers and names as people read them.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const SCALES: [&str; 5] = ["", "k", "M", "G", "T"];

/// `0B`, `999B`, `64KiB`, `1.5MiB`: three digits or four, in binary units, never rounded up to more than
/// there is.
pub fn bytes(bytes: u64) -> String {
    scaled(bytes, 1024, &UNITS)
}

/// Exact up to eight digits, then `123.4M` in powers of a thousand.
pub fn count(count: u64) -> String {
    if count < 100_000_000 { count.to_string() } else { scaled(count, 1000, &SCALES) }
}

fn scaled(value: u64, base: u64, units: &[&str]) -> String {
    let mut scale = 1;
    let mut index = 0;
    while index + 1 < units.len() && value / scale >= base {
        scale *= base;
        index += 1;
    }
    let (whole, tenth) = (value / scale, value % scale * 10 / scale);
    let unit = units[index];
    if tenth == 0 || whole >= 1000 { format!("{whole}{unit}") } else { format!("{whole}.{tenth}{unit}") }
}

/// `-` for what is not known.
pub fn or_dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

/// A name from outside, with nothing in it that a terminal would obey.
pub fn printable(name: &str) -> String {
    let mut safe = String::with_capacity(name.len());
    for character in name.chars() {
        let invisible = character.width().is_none_or(|width| width == 0);
        if character.is_control() || (invisible && !character.is_ascii()) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Columns that a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text, its beginning replaced by `mark` when it takes more than `columns`: of a path or an address
/// the end says more.
pub fn keep_end(text: &str, columns: usize, mark: &str) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(width(mark));
    let mut taken = 0;
    let mut start = text.len();
    for (index, character) in text.char_indices().rev() {
        taken += character.width().unwrap_or(0);
        if taken > room {
            break;
        }
        start = index;
    }
    format!("{mark}{}", &text[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_and_never_more_than_there_is() {
        let table = [
            (0, "0B"),
            (1, "1B"),
            (1023, "1023B"),
            (1024, "1KiB"),
            (1536, "1.5KiB"),
            (65_536, "64KiB"),
            (1_048_575, "1023KiB"),
            (1_572_864, "1.5MiB"),
            (1 << 40, "1TiB"),
            (u64::MAX, "15.9EiB"),
        ];
        for (value, expected) in table {
            assert_eq!(bytes(value), expected);
        }
    }

    #[test]
    fn counts_are_exact_as_long_as_they_are_short() {
        assert_eq!(count(99_999_999), "99999999");
        assert_eq!(count(123_456_789), "123.4M");
        assert_eq!(count(u64::MAX), "18446744T");
    }

    #[test]
    fn names_cannot_command_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(printable("/srv/ä 数.bin"), "/srv/ä 数.bin");
        assert_eq!(printable("x\u{202e}y"), "x\\u{202e}y");
    }

    #[test]
    fn long_names_keep_their_end_within_the_columns() {
        assert_eq!(keep_end("/srv/data/file.bin", 18, "…"), "/srv/data/file.bin");
        assert_eq!(keep_end("/srv/data/file.bin", 9, "…"), "…file.bin");
        assert_eq!(keep_end("数数数", 4, "…"), "…数");
    }
}
