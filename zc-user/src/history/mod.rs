//! What was before: intervals that were kept, by hour, as Parquet.
//!
//! One process writes ([`History`]); any number may read ([`read`]). What happened in the hour that is not over is in a segment: a file
//! that only grows, by one record for each interval, and loses at most the last one when its writer is killed. When the hour is over,
//! the segment becomes Parquet. `docs/history.md` has the layout and the columns. Nothing in here knows where intervals come from.

mod columns;
mod error;
mod files;
#[cfg(test)]
mod fixture;
mod host;
mod read;
mod retain;
mod roll;
mod rows;
mod schema;
mod seal;
mod segment;
mod sets;
mod stem;
mod stored;
mod sum;
mod table;

use std::{
    fs::{File, TryLockError},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

pub use self::{
    error::{Found, HistoryError, Notice},
    host::Host,
    read::{Entry, Reading, read},
    retain::Limits,
    sum::{Gap, Past, report},
};
use self::{
    files::Layout,
    segment::{Next, Reader, Segment},
    stem::{Hour, Stem},
    stored::Stored,
};
use crate::model::Interval;

/// The history of a directory, for the one who writes it.
#[derive(Debug)]
pub struct History {
    layout: Layout,
    host: Host,
    limits: Limits,
    /// What is not Parquet yet, oldest first.
    segments: Vec<Segment>,
    /// When retention was applied last, and how much Parquet it left; `None` before.
    retained: Option<Retained>,
    /// Held until this is dropped, or its process ends.
    _lock: File,
}

#[derive(Clone, Copy, Debug)]
struct Retained {
    hour: Hour,
    parquet_bytes: u64,
}

/// What was done by [`History::roll`].
#[derive(Debug, Default)]
#[must_use = "what failed and what was noticed is in it"]
pub struct Rolled {
    /// Parquet files that were written.
    pub finished: Vec<PathBuf>,
    /// Files that were removed: too old, or too much.
    pub removed: Vec<PathBuf>,
    /// What was wrong with a segment, and what was done about it.
    pub notices: Vec<Notice>,
    /// What failed. It is tried again the next time; nothing was lost.
    pub failed: Vec<HistoryError>,
}

impl History {
    /// Opens a directory for writing, and makes it if there is none. What a crash left behind is mended, and said.
    ///
    /// An error is: the directory cannot be written, or another process writes it.
    pub fn open(dir: &Path, host: Host, limits: Limits) -> Result<(Self, Vec<Notice>), HistoryError> {
        files::make_top(dir)?;
        let layout = Layout { dir: dir.to_path_buf() };
        let lock = lock(&layout)?;
        for part in [layout.open(), layout.parquet(), layout.tmp()] {
            files::make_dir(&part)?;
        }
        for unfinished in files::list(&layout.tmp())? {
            files::remove(&unfinished.path())?;
        }
        let (mut segments, mut notices) = (Vec::new(), Vec::new());
        for (stem, path) in read::segments(&layout)? {
            if let Some(segment) = mend(stem, path, &mut notices)? {
                segments.push(segment);
            }
        }
        files::sync_dir(&layout.open())?;
        segments.sort_by(|one, other| one.stem.cmp(&other.stem));
        Ok((Self { layout, host, limits, segments, retained: None, _lock: lock }, notices))
    }

    /// Keeps an interval. When this returns, it is on the disk. After an error, nothing of it is kept, and the next one may succeed.
    pub fn append(&mut self, interval: &Interval) -> Result<(), HistoryError> {
        let stored = Stored::of(&self.host, interval);
        let record = segment::encode(&stored)?;
        self.segments.retain(|segment| !segment.is_gone());
        let index = self.segment_of(Hour::of(stored.end))?;
        for (other, segment) in self.segments.iter_mut().enumerate() {
            if other != index {
                segment.close();
            }
        }
        self.segments[index].append(&record)
    }

    /// Finishes the segments of hours that are over, and removes what is too old or too much. Meant to be called after every interval:
    /// as long as there is nothing to do, it costs nothing. At the end of an hour it computes for seconds when there are many processes:
    /// not on a thread that others wait for.
    pub fn roll(&mut self, now: Timestamp) -> Rolled {
        let mut rolled = Rolled::default();
        let layout = &self.layout;
        self.segments.retain_mut(|segment| {
            if !segment.stem.hour.is_over(now) {
                return true;
            }
            segment.close();
            if segment.is_gone() {
                rolled.notices.push(Notice::left_out(&segment.path, "somebody has removed it"));
                return false;
            }
            match roll::finish(layout, segment) {
                Ok(finished) => {
                    rolled.finished.extend(finished.files);
                    rolled.notices.extend(finished.notices);
                    false
                }
                Err(error) => {
                    rolled.failed.push(error);
                    true
                }
            }
        });
        if !rolled.finished.is_empty() || self.retention_is_due(now) {
            match retain::apply(&self.layout, self.limits, now) {
                Ok((removed, parquet_bytes)) => {
                    rolled.removed = removed;
                    self.retained = Some(Retained { hour: Hour::of(now), parquet_bytes });
                }
                Err(error) => rolled.failed.push(error),
            }
        }
        rolled
    }

    /// Once an hour for age; for size, whenever there is too much, and anything that could be removed.
    fn retention_is_due(&self, now: Timestamp) -> bool {
        let Some(Retained { hour, parquet_bytes }) = self.retained else { return true };
        let open_bytes = self.segments.iter().map(|segment| segment.good_bytes).fold(0, u64::saturating_add);
        hour != Hour::of(now)
            || parquet_bytes > 0 && parquet_bytes.saturating_add(open_bytes) > self.limits.max_bytes
    }

    /// The segment that an interval belongs to; a new one if there is none.
    fn segment_of(&mut self, hour: Hour) -> Result<usize, HistoryError> {
        let host = self.host.file_name();
        let is_it = |segment: &Segment| segment.stem.hour == hour && segment.stem.host == host;
        if let Some(index) = self.segments.iter().rposition(is_it) {
            return Ok(index);
        }
        // A name is used once: files of one that is used already are those of another segment.
        let finished = sets::list(&self.layout)?;
        let stems = finished.keys().chain(self.segments.iter().map(|segment| &segment.stem));
        let last = stems.filter(|stem| stem.hour == hour).map(|stem| stem.number).max();
        let stem = Stem { hour, number: last.map_or(0, |last| last.saturating_add(1)), host };
        let segment = Segment::create(&self.layout, stem)?;
        let index = self.segments.partition_point(|other| other.stem < segment.stem);
        self.segments.insert(index, segment);
        Ok(index)
    }
}

fn lock(layout: &Layout) -> Result<File, HistoryError> {
    let path = layout.lock();
    let mut file = files::create_or_open(&path).map_err(HistoryError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // For the message only.
            let _ = file.take(16).read_to_string(&mut holder);
            return Err(HistoryError::Locked { dir: layout.dir.clone(), holder: holder.trim().parse().ok() });
        }
        Err(TryLockError::Error(error)) => return Err(HistoryError::io("lock", &path)(error)),
    }
    let write = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    write.map_err(HistoryError::io("write", &path))?;
    Ok(file)
}

/// Looks through a segment that was left behind: its end is cut off where it is no record, and what is no segment gets another name.
fn mend(stem: Stem, path: PathBuf, notices: &mut Vec<Notice>) -> Result<Option<Segment>, HistoryError> {
    let looked_through = files::open_to_mend(&path).and_then(|file| {
        let read_by = file.try_clone()?;
        let mut reader = match Reader::of_file(read_by)? {
            Ok(reader) => reader,
            Err(why) => return Ok(Err(why)),
        };
        loop {
            let why = match reader.next()? {
                Next::Record(_) => continue,
                Next::End => return Ok(Ok((reader.good_bytes, None))),
                Next::Incomplete => "a record was not written to its end",
                Next::Damaged(why) => why,
            };
            return Ok(Ok((reader.good_bytes, Some((file, why)))));
        }
    });
    let why = match looked_through {
        Ok(Ok((good_bytes, torn))) => {
            if let Some((file, why)) = torn {
                let failed = || HistoryError::io("cut", &path);
                let len_bytes = file.metadata().map_err(failed())?.len();
                segment::Medium::cut(&mut { file }, good_bytes).map_err(failed())?;
                let what =
                    Found::TornTail { bytes: len_bytes.saturating_sub(good_bytes), why: why.to_owned() };
                notices.push(Notice { path: path.clone(), what });
            }
            return Ok(Some(Segment::found(stem, path, good_bytes)));
        }
        Ok(Err(why)) => why,
        Err(error) => error.to_string(),
    };
    notices.push(roll::set_aside(path, why)?);
    Ok(None)
}

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
