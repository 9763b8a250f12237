//! An answer in words.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{Bound, Doubt, Expectation, Outcome, Sums};

impl Outcome {
    /// In words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::DoesNotHold => "does not hold",
            Self::CannotBeDecided => "cannot be decided",
        }
    }
}

impl Expectation {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ZeroCopy(_) => "zero-copy",
            Self::Copied => "copied",
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => bytes.fmt(f),
            Self::Share(thousandths) => write!(f, "{}%", decimal(*thousandths)),
        }
    }
}

/// `{"bytes": 4096}` or `{"percent": 0.5}`.
impl Serialize for Bound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Bytes(bytes) => map.serialize_entry("bytes", bytes)?,
            Self::Share(thousandths) => map.serialize_entry("percent", &(*thousandths as f64 / 1000.0))?,
        }
        map.end()
    }
}

/// A number of thousandths with as many digits as it needs.
fn decimal(thousandths: u64) -> String {
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingSelected => f.write_str("nothing was selected"),
            Self::UnknownBytes { bytes } => {
                write!(f, "of {bytes} bytes it is not known whether they were copied")
            }
            Self::UnattributedBytes { bytes } => {
                write!(f, "{bytes} bytes have no name that tells whether they are selected")
            }
            Self::Lost { counters } => {
                let counters: Vec<_> =
                    counters.iter().map(|(name, count)| format!("{name} {count}")).collect();
                write!(f, "data was lost ({})", counters.join(", "))
            }
            Self::MissingHook { name, reason: _ } => {
                write!(f, "transfers may be missing without the hook {name}")
            }
            Self::Omitted => f.write_str("parts of the report were left out"),
        }
    }
}

/// The answer in one line.
pub(super) fn summary(
    outcome: Outcome,
    expectation: Expectation,
    flows: bool,
    sums: &Sums,
    doubts: &[Doubt],
) -> String {
    let doubts: Vec<_> = doubts.iter().map(Doubt::to_string).collect();
    let mut parts = vec![doubts.join("; ")];
    if sums.entries > 0 {
        let entries = match (flows, sums.entries) {
            (true, 1) => "1 flow".to_owned(),
            (true, count) => format!("{count} flows"),
            (false, 1) => "1 row".to_owned(),
            (false, count) => format!("{count} rows"),
        };
        let Sums { bytes, cpu_copied_bytes, by_reference_bytes, unknown_bytes, .. } = sums;
        let allowed = match expectation {
            Expectation::ZeroCopy(bound) => format!("at most {bound} may be copied"),
            Expectation::Copied => "all must be copied".to_owned(),
        };
        parts.push(format!(
            "{cpu_copied_bytes} bytes copied, {by_reference_bytes} by reference, {unknown_bytes} unknown, \
             of {bytes} in {entries}; {allowed}"
        ));
    }
    parts.retain(|part| !part.is_empty());
    format!("{}: {}", outcome.text(), parts.join("; "))
}
