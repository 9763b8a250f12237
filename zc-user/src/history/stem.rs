//! Names of files: which host's and which hour's they are.

use std::fmt;

use jiff::Timestamp;

const HOUR_SECONDS: i64 = 3600;
/// `-2026-03-01T13`
const HOUR_BYTES: usize = 14;

/// Hours since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Hour(i64);

impl Hour {
    /// The hour of a time; a clock before 1970 is in the first one.
    pub(super) fn of(time: Timestamp) -> Self {
        Self(time.as_second().div_euclid(HOUR_SECONDS).max(0))
    }

    /// When it began.
    pub(super) fn start(self) -> Timestamp {
        Timestamp::from_second(self.0.saturating_mul(HOUR_SECONDS)).unwrap_or(Timestamp::MAX)
    }

    /// When it is over.
    pub(super) fn end(self) -> Timestamp {
        Self(self.0.saturating_add(1)).start()
    }

    /// Whether it is over. So is one that is yet to come, as of a clock that was set back since: nothing more is to be expected of it soon.
    pub(super) fn is_over(self, now: Timestamp) -> bool {
        let next = Self(Self::of(now).0.saturating_add(1));
        self.end() <= now || self > next
    }

    /// Whether something that ended in (since, until] may have ended in this hour.
    pub(super) fn touches(self, since: Timestamp, until: Timestamp) -> bool {
        // Times before 1970 are kept with the first hour.
        (self.end() > since) && (self.start() <= until || self.0 == 0)
    }

    /// `date=2026-03-01/hour=13`, as Hive names partitions.
    pub(super) fn partition(self) -> [String; 2] {
        let start = self.start();
        [start.strftime("date=%Y-%m-%d").to_string(), start.strftime("hour=%H").to_string()]
    }

    fn parse(text: &str) -> Option<Self> {
        let time: Timestamp = format!("{text}:00:00Z").parse().ok()?;
        let hour = Self::of(time);
        (hour.to_string() == text).then_some(hour)
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.start().strftime("%Y-%m-%dT%H").fmt(f)
    }
}

/// What a segment and the Parquet files that it becomes are called: `web1-5f3a9c01-2026-03-01T13`, and with `.1`, `.2`, … the
/// later ones of the same hour. In the order in which they were begun.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Stem {
    pub(super) hour: Hour,
    /// No two stems of an hour in one directory have the same.
    pub(super) number: u32,
    /// [`super::Host::file_name`].
    pub(super) host: String,
}

impl Stem {
    /// Reads what [`fmt::Display`] writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (rest, number) = match text.rsplit_once('.') {
            Some((rest, digits)) if is_number(digits) => (rest, digits.parse().ok()?),
            _ => (text, 0),
        };
        let (host, hour) = rest.split_at_checked(rest.len().checked_sub(HOUR_BYTES)?)?;
        let stem = Self { hour: Hour::parse(hour.strip_prefix('-')?)?, number, host: host.to_owned() };
        (!host.is_empty() && stem.to_string() == text).then_some(stem)
    }
}

fn is_number(digits: &str) -> bool {
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for Stem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hour, number, host } = self;
        write!(f, "{host}-{hour}")?;
        if *number > 0 { write!(f, ".{number}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(text: &str) -> Hour {
        Hour::of(text.parse().expect("a time"))
    }

    #[test]
    fn names_are_read_back() {
        let hour = hour("2026-03-01T13:59:59Z");
        for (host, number, text) in [
            ("web1", 0, "web1-2026-03-01T13"),
            ("a.b-5f3a9c01", 12, "a.b-5f3a9c01-2026-03-01T13.12"),
            ("x-2025-01-01T00.3", 0, "x-2025-01-01T00.3-2026-03-01T13"),
        ] {
            let stem = Stem { hour, number, host: host.to_owned() };
            assert_eq!(stem.to_string(), text);
            assert_eq!(Stem::parse(text), Some(stem));
        }
        for text in [
            "",
            "web1",
            "-2026-03-01T13",
            "web1-2026-03-01T24",
            "web1-2026-3-01T13",
            "web1-2026-03-01T13.0",
            "web1-2026-03-01T13.01",
            "web1-2026-03-01T13.4294967296",
            "é-2026-03-01T1é",
            "web1-1969-12-31T23",
        ] {
            assert_eq!(Stem::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_hour_is_over_when_the_next_one_begins() {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let hour = hour("2026-03-01T13:30:00Z");
        assert!(!hour.is_over(time("2026-03-01T13:59:59.999999Z")));
        assert!(hour.is_over(time("2026-03-01T14:00:00Z")));
        assert!(!hour.is_over(time("2026-03-01T12:59:59Z")), "just begun, by a clock read a moment earlier");
        assert!(hour.is_over(time("2026-03-01T11:59:59Z")));
    }

    #[test]
    fn an_hour_touches_what_ends_in_it() {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let hour = hour("2026-03-01T13:30:00Z");
        assert_eq!(hour.partition(), ["date=2026-03-01", "hour=13"]);
        let touches = |since, until| hour.touches(time(since), time(until));
        assert!(touches("2026-03-01T13:59:59Z", "2026-03-01T15:00:00Z"));
        assert!(!touches("2026-03-01T14:00:00Z", "2026-03-01T15:00:00Z"));
        assert!(
            touches("2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z"),
            "what ends at 13:00:00 is of that hour"
        );
        assert!(!touches("2026-03-01T12:00:00Z", "2026-03-01T12:59:59.999Z"));
        assert!(Hour(0).touches(Timestamp::MIN, time("1960-01-01T00:00:00Z")));
    }
}
