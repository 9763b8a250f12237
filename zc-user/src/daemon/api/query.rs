//! The parameters of a request.

use std::{collections::BTreeSet, time::Duration};

use clap::ValueEnum as _;
use jiff::{Timestamp, Zoned};

use crate::{
    export::{Format, Options},
    model::Report,
    render::view::Sort,
    units,
};

/// What of a report is wanted, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) pids: BTreeSet<u32>,
    pub(super) comms: BTreeSet<String>,
    pub(super) cgroups: BTreeSet<String>,
    pub(super) limit: Option<usize>,
    pub(super) sort: Sort,
    pub(super) format: Format,
    pub(super) age: Option<Duration>,
    /// Of the history, from here on.
    pub(super) since: Option<Timestamp>,
    /// Of the history, up to here.
    pub(super) until: Option<Timestamp>,
}

impl Query {
    /// Reads what is behind the question mark of a request. Every name that is not known is an error: it would have meant something.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, String> {
        let mut query = Self::default();
        for pair in text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value).ok_or_else(|| format!("{name}: not a valid value"))?;
            let refuse = |why: &str| format!("{name}: {value:?}: {why}");
            match name {
                "pid" => {
                    query.pids.insert(value.parse().map_err(|_| refuse("expected a process id"))?);
                }
                "comm" => {
                    query.comms.insert(value);
                }
                "cgroup" => {
                    query.cgroups.insert(value);
                }
                "limit" => query.limit = Some(value.parse().map_err(|_| refuse("expected a number"))?),
                "sort" => {
                    query.sort = Sort::from_str(&value, false)
                        .map_err(|_| refuse("expected bytes, copied, calls or pid"))?;
                }
                "format" => {
                    query.format =
                        Format::from_str(&value, false).map_err(|_| refuse("expected json, csv or table"))?;
                }
                "max_age" => {
                    query.age = Some(units::duration(&value).map_err(|error| refuse(&error.to_string()))?);
                }
                "since" | "until" => {
                    let time =
                        units::instant(&value, &Zoned::now()).map_err(|error| refuse(&error.to_string()))?;
                    *if name == "since" { &mut query.since } else { &mut query.until } = Some(time);
                }
                _ => return Err(format!("{name}: no such parameter")),
            }
        }
        Ok(query)
    }

    /// The processes that are wanted, and their flows.
    pub(super) fn select(&self, report: &Report) -> Report {
        let mut report = report.clone();
        self.keep(&mut report);
        report
    }

    /// Leaves out the processes that are not wanted, and their flows.
    pub(super) fn keep(&self, report: &mut Report) {
        let Self { pids, comms, cgroups, .. } = self;
        if pids.is_empty() && comms.is_empty() && cgroups.is_empty() {
            return;
        }
        report.keep(|process| {
            pids.contains(&process.pid)
                || process.comm.as_ref().is_some_and(|comm| comms.contains(comm))
                || process.cgroup.as_ref().is_some_and(|cgroup| cgroups.contains(cgroup))
        });
    }

    pub(super) fn options(&self) -> Options {
        Options { sort: self.sort, limit: self.limit, ..Options::default() }
    }
}

/// `%41+b` is `A b`.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'%' => {
                let digits = std::str::from_utf8(after.get(..2)?).ok()?;
                // `from_str_radix` would take a sign.
                if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    return None;
                }
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = after.get(2..)?;
            }
            b'+' => bytes.push(b' '),
            _ => bytes.push(first),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read() {
        let query = Query::parse(Some(
            "pid=7&pid=8&comm=a%20b+c&limit=5&sort=copied&format=csv&max_age=250ms&cgroup=%2Fx",
        ))
        .expect("it");
        assert_eq!(query.pids, [7, 8].into());
        assert_eq!(query.comms, ["a b c".to_owned()].into());
        assert_eq!(query.cgroups, ["/x".to_owned()].into());
        assert_eq!((query.limit, query.sort, query.format), (Some(5), Sort::Copied, Format::Csv));
        assert_eq!(query.age, Some(Duration::from_millis(250)));
        assert_eq!(Query::parse(None).expect("nothing"), Query::default());
        assert_eq!(Query::parse(Some("&")).expect("nothing"), Query::default());
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for text in [
            "pid=x",
            "pid=-1",
            "since=soon",
            "until=",
            "limit=",
            "sort=up",
            "format=xml",
            "max_age=never",
            "colour=red",
            "comm=%",
            "comm=%+1",
            "comm=%ff",
        ] {
            assert!(Query::parse(Some(text)).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_text_is_parameters_or_an_error(text in "[a-z%0-9&=+\\x00-\\x7f]{0,40}") {
            let _ = Query::parse(Some(&text));
        }
    }
}
