//! How much is kept: by age, and by size, oldest first.

use std::{fs, path::PathBuf, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{
    error::HistoryError,
    files::{self, Layout},
    schema::INTERVALS,
    sets::{self, Set},
};

/// How much history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long an hour is kept after its end.
    pub max_age: Duration,
    /// How much all files together may have. What is not Parquet yet counts, but is never removed for it.
    pub max_bytes: u64,
}

impl Limits {
    /// What ended before has been kept for long enough. `None` when nothing has.
    fn horizon(&self, now: Timestamp) -> Option<Timestamp> {
        now.checked_sub(SignedDuration::try_from(self.max_age).ok()?).ok()
    }
}

/// Removes what is too old or too much; returns the files, and the bytes of Parquet that are left.
pub(super) fn apply(
    layout: &Layout,
    limits: Limits,
    now: Timestamp,
) -> Result<(Vec<PathBuf>, u64), HistoryError> {
    let horizon = limits.horizon(now);
    let mut removed = Vec::new();
    let mut open_bytes = 0_u64;
    for entry in files::list(&layout.open())? {
        let Ok(metadata) = entry.metadata() else { continue };
        let is_broken = entry.path().extension().is_some_and(|extension| extension == "broken");
        let changed = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        if is_broken && horizon.zip(changed).is_some_and(|(horizon, changed)| changed <= horizon) {
            files::remove(&entry.path())?;
            removed.push(entry.path());
        } else {
            open_bytes = open_bytes.saturating_add(metadata.len());
        }
    }
    let sets = sets::list(layout)?;
    let mut bytes = sets.values().map(Set::bytes).fold(open_bytes, u64::saturating_add);
    for (stem, set) in &sets {
        let is_old = horizon.is_some_and(|horizon| stem.hour.end() <= horizon);
        if is_old || bytes > limits.max_bytes {
            bytes -= set.bytes().min(bytes);
            remove(set, &mut removed)?;
        }
    }
    Ok((removed, bytes.saturating_sub(open_bytes)))
}

/// The file without which the others do not count goes first, so that a crash leaves no part of an hour.
fn remove(set: &Set, removed: &mut Vec<PathBuf>) -> Result<(), HistoryError> {
    let (first, others): (Vec<_>, Vec<_>) = set.files.iter().partition(|file| file.table == INTERVALS.name);
    for file in first.into_iter().chain(others) {
        files::remove(&file.path)?;
        removed.push(file.path.clone());
        // Only of partitions that have become empty; of others it is an error, and nothing happens.
        for directory in file.path.ancestors().skip(1).take(2) {
            if fs::remove_dir(directory).is_err() {
                break;
            }
        }
    }
    Ok(())
}
