//! Numbers and names as people read them.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const SCALES: [&str; 5] = ["", "k", "M", "G", "T"];

/// `0`, `999B`, `64KiB`, `1.5MiB`, `1023GiB`: in binary units, never rounded up to more than there is.
pub fn bytes(bytes: u64) -> String {
    if bytes == 0 { "0".to_owned() } else { scaled(bytes, 1024, &UNITS) }
}

/// Exact below `limit`, then `12.3k`, `123M` in powers of a thousand.
pub fn count(count: u64, limit: u64) -> String {
    if count < limit { count.to_string() } else { scaled(count, 1000, &SCALES) }
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
    if tenth == 0 || whole >= 100 { format!("{whole}{unit}") } else { format!("{whole}.{tenth}{unit}") }
}

/// `1 call`, `2 calls`.
pub fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// `-` for what is not known.
pub fn or_dash<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
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

/// The text, as much of it from its beginning as there are `columns` for.
pub fn keep_start(text: &str, columns: usize) -> String {
    let mut taken = 0;
    let fits = |character: &char| {
        taken += character.width().unwrap_or(0);
        taken <= columns
    };
    text.chars().take_while(fits).collect()
}

/// Lines of at most `columns`, broken at spaces; from the second on they begin with `indent`.
pub fn wrap(text: &str, columns: usize, indent: &str) -> String {
    let mut lines = String::new();
    let mut words = text.split(' ');
    let mut line = words.next().unwrap_or_default().to_owned();
    for word in words {
        if width(&line) + 1 + width(word) > columns {
            lines.push_str(line.trim_end());
            lines.push('\n');
            indent.clone_into(&mut line);
        } else {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines + &line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_and_never_more_than_there_is() {
        let table = [
            (0, "0"),
            (1, "1B"),
            (1023, "1023B"),
            (1024, "1KiB"),
            (1536, "1.5KiB"),
            (65_536, "64KiB"),
            (1_048_575, "1023KiB"),
            (1_572_864, "1.5MiB"),
            (1 << 40, "1TiB"),
            ((1 << 40) - 1, "1023GiB"),
            (u64::MAX, "15.9EiB"),
        ];
        for (value, expected) in table {
            assert_eq!(bytes(value), expected);
        }
    }

    #[test]
    fn counts_are_exact_as_long_as_they_are_short() {
        assert_eq!(count(9_999, 10_000), "9999");
        assert_eq!(count(12_399, 10_000), "12.3k");
        assert_eq!(count(123_456_789, 100_000_000), "123M");
        assert_eq!(count(u64::MAX, 10_000), "18446744T");
        assert_eq!(
            (plural(1, "call", "calls"), plural(2, "call", "calls")),
            ("1 call".into(), "2 calls".into())
        );
    }

    #[test]
    fn lines_are_broken_at_spaces() {
        assert_eq!(wrap("one two three four", 9, "  "), "one two\n  three\n  four");
        assert_eq!(wrap("  a  b", 9, "  "), "  a  b");
        assert_eq!(wrap("incompressible", 9, "  "), "incompressible");
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
        assert_eq!((keep_start("数数数", 5), keep_start("ab", 5)), ("数数".to_owned(), "ab".to_owned()));
    }
}
