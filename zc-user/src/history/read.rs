//! Reading: by any process, also while another one writes.

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
    vec,
};

use jiff::Timestamp;

use super::{
    error::{HistoryError, Notice},
    files::{self, Layout},
    host::Host,
    rows::Files,
    schema::INTERVALS,
    segment::{self, EXTENSION, Next, Reader},
    sets::{self, Set},
    stem::Stem,
    stored::Stored,
};
use crate::model::Interval;

/// An interval, and the machine that it was on.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The machine.
    pub host: Host,
    /// What happened.
    pub interval: Interval,
}

/// Intervals that ended after `since` and not after `until`, in the order in which they were written. One is in memory at a time, and
/// a few thousand rows of Parquet.
#[derive(Debug)]
pub struct Reading {
    since: Timestamp,
    until: Timestamp,
    sources: vec::IntoIter<Source>,
    current: Option<Current>,
    notices: Vec<Notice>,
}

#[derive(Debug)]
enum Source {
    /// Opened when it was found: it can be read to its end also when it becomes Parquet meanwhile.
    Segment(PathBuf, File),
    Parquet(Set),
}

enum Current {
    Segment(PathBuf, Box<Reader<BufReader<File>>>),
    Parquet(PathBuf, Box<Files>),
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Segment(path, _) => f.debug_tuple("Segment").field(path).finish(),
            Self::Parquet(path, _) => f.debug_tuple("Parquet").field(path).finish(),
        }
    }
}

/// Reads what is kept in a directory. Nothing is written, locked or waited for.
pub fn read(dir: &Path, since: Timestamp, until: Timestamp) -> Result<Reading, HistoryError> {
    // A directory that is not there is a mistake of who named it; one without history is none.
    std::fs::read_dir(dir).map_err(HistoryError::io("read", dir))?;
    let layout = Layout { dir: dir.to_path_buf() };
    let mut notices = Vec::new();
    let mut sources = Vec::new();
    // Segments come first: one that is gone by the time it is opened has become Parquet before that is listed.
    for (stem, path) in segments(&layout)? {
        match files::open_to_read(&path) {
            Ok(file) => sources.push((stem, Source::Segment(path, file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => notices.push(Notice::left_out(&path, error)),
        }
    }
    for (stem, set) in sets::list(&layout)? {
        // While the segment is there, the files are not whole, or were not known to be.
        let is_whole = set.file(INTERVALS).is_some();
        if is_whole && !sources.iter().any(|(segment, _)| *segment == stem) {
            sources.push((stem, Source::Parquet(set)));
        }
    }
    sources.retain(|(stem, _)| stem.hour.touches(since, until));
    sources.sort_by(|(one, _), (other, _)| one.cmp(other));
    let sources: Vec<_> = sources.into_iter().map(|(_, source)| source).collect();
    Ok(Reading { since, until, sources: sources.into_iter(), current: None, notices })
}

/// Segments by their names.
pub(super) fn segments(layout: &Layout) -> Result<Vec<(Stem, PathBuf)>, HistoryError> {
    let entries = files::list(&layout.open())?;
    let stem = |name: &std::ffi::OsStr| Stem::parse(name.to_str()?.strip_suffix(EXTENSION)?);
    Ok(entries.iter().filter_map(|entry| Some((stem(&entry.file_name())?, entry.path()))).collect())
}

impl Source {
    fn open(self) -> Result<Current, Notice> {
        match self {
            Self::Segment(path, file) => match Reader::of_file(file) {
                Ok(Ok(reader)) => Ok(Current::Segment(path, Box::new(reader))),
                Ok(Err(why)) => Err(Notice::left_out(&path, why)),
                Err(error) => Err(Notice::left_out(&path, error)),
            },
            Self::Parquet(set) => {
                let of_all = set.file(INTERVALS).map(Path::to_path_buf).unwrap_or_default();
                let files = Files::open(|table| {
                    let path = set.file(table).ok_or_else(|| format!("it has no file of {}", table.name))?;
                    files::open_to_read(path).map_err(|error| format!("{}: {error}", path.display()))
                });
                match files {
                    Ok(files) => Ok(Current::Parquet(of_all, Box::new(files))),
                    Err(why) => Err(Notice::left_out(&of_all, why)),
                }
            }
        }
    }
}

impl Reading {
    /// What could not be read so far.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// The next one of the current file.
    fn next_stored(&mut self) -> Option<Stored<'static>> {
        let Self { current, notices, .. } = self;
        match current.as_mut()? {
            Current::Segment(path, reader) => loop {
                match reader.next() {
                    Ok(Next::Record(content)) => match segment::decode(&content) {
                        Ok(stored) => return Some(stored),
                        Err(why) => notices.push(Notice::left_out(path, why)),
                    },
                    // Incomplete: it is being written, or its writer was killed and will say so when it is started again.
                    Ok(Next::End | Next::Incomplete) => return None,
                    Ok(Next::Damaged(why)) => {
                        let why = format!("what follows byte {}: {why}", reader.good_bytes);
                        notices.push(Notice::left_out(path, why));
                        return None;
                    }
                    Err(error) => {
                        notices.push(Notice::left_out(path, error));
                        return None;
                    }
                }
            },
            Current::Parquet(path, files) => match files.next() {
                Ok(stored) => stored,
                Err(why) => {
                    notices.push(Notice::left_out(path, why));
                    None
                }
            },
        }
    }

    fn path(&self) -> PathBuf {
        match &self.current {
            Some(Current::Segment(path, _) | Current::Parquet(path, _)) => path.clone(),
            None => PathBuf::new(),
        }
    }
}

impl Iterator for Reading {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            while self.current.is_none() {
                let source = self.sources.next()?;
                match source.open() {
                    Ok(current) => self.current = Some(current),
                    Err(notice) => self.notices.push(notice),
                }
            }
            let Some(stored) = self.next_stored() else {
                self.current = None;
                continue;
            };
            if stored.end <= self.since || stored.end > self.until {
                continue;
            }
            let (host, interval, unknown) = stored.into_interval();
            if unknown > 0 {
                let why =
                    format!("{unknown} rows of an interval are of paths that this version does not know");
                self.notices.push(Notice::left_out(&self.path(), why));
            }
            return Some(Entry { host, interval });
        }
    }
}
