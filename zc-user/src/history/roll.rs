//! A segment becomes Parquet.
//!
//! The order of the steps is what keeps a crash from losing or doubling anything: all files are written under other names and are
//! on the disk before the first gets its own; the segment goes when all names are on the disk. As long as it is there, it is what
//! counts, and files of its name do not: a crash in between leads to the same files again, under the same names.

use std::{fs, path::PathBuf};

use super::{
    error::{Found, HistoryError, Notice},
    files::{self, Layout},
    rows::Tables,
    schema::{TABLES, Table},
    segment::{self, HEADER, Next, Reader, Segment},
    sets,
    stem::Stem,
    table::TableWriter,
};

/// What became of a segment.
#[derive(Debug, Default)]
pub(super) struct Finished {
    /// The Parquet files; none of a segment without intervals.
    pub(super) files: Vec<PathBuf>,
    pub(super) notices: Vec<Notice>,
}

/// All the steps.
pub(super) fn finish(layout: &Layout, segment: &Segment) -> Result<Finished, HistoryError> {
    if segment.good_bytes <= HEADER.len() as u64 {
        discard(layout, segment, None)?;
        return Ok(Finished::default());
    }
    let written = write(layout, segment);
    let unreadable = match written {
        Ok(unreadable) => unreadable,
        Err(error) => {
            for table in TABLES {
                // They are in the way of nothing, and are cleared away when the directory is opened.
                let _ = files::remove(&unnamed(layout, table, &segment.stem));
            }
            return Err(error);
        }
    };
    let mut done = Finished::default();
    for table in TABLES {
        done.files.push(publish(layout, table, &segment.stem)?);
    }
    done.notices.extend(discard(layout, segment, unreadable)?);
    Ok(done)
}

/// Step 1: the files, under names that nobody looks for. Returns what is wrong with the segment, if anything is.
pub(super) fn write(layout: &Layout, segment: &Segment) -> Result<Option<String>, HistoryError> {
    let path = &segment.path;
    let file = files::open_to_read(path).map_err(HistoryError::io("read", path))?;
    let reader = Reader::of_file(file).map_err(HistoryError::io("read", path))?;
    let mut reader = match reader {
        Ok(reader) => reader,
        Err(why) => return Ok(Some(why)),
    };
    let mut tables =
        Tables::create(|table| TableWriter::create(&unnamed(layout, table, &segment.stem), table))?;
    let mut unreadable = None;
    loop {
        match reader.next().map_err(HistoryError::io("read", path))? {
            Next::Record(content) => match segment::decode(&content) {
                Ok(stored) => tables.push(&stored)?,
                Err(why) => unreadable = Some(why),
            },
            Next::End => break,
            Next::Incomplete => {
                unreadable = Some("it ends within a record".to_owned());
                break;
            }
            Next::Damaged(why) => {
                unreadable = Some(why.to_owned());
                break;
            }
        }
    }
    tables.finish()?;
    Ok(unreadable)
}

/// Step 2, for each table: the file gets its name.
pub(super) fn publish(layout: &Layout, table: Table, stem: &Stem) -> Result<PathBuf, HistoryError> {
    let unnamed = unnamed(layout, table, stem);
    let directories = sets::directories(layout, table, stem);
    for directory in &directories {
        files::make_dir(directory)?;
    }
    let [.., directory] = directories;
    let path = directory.join(sets::file_name(table, stem));
    files::rename(&unnamed, &path)?;
    files::sync_dir(&directory)?;
    Ok(path)
}

/// Step 3: the segment goes. One that could not be read in full is kept under another name.
pub(super) fn discard(
    layout: &Layout,
    segment: &Segment,
    unreadable: Option<String>,
) -> Result<Option<Notice>, HistoryError> {
    let notice = match unreadable {
        None => {
            files::remove(&segment.path)?;
            None
        }
        Some(why) => Some(set_aside(segment.path.clone(), why)?),
    };
    files::sync_dir(&layout.open())?;
    Ok(notice)
}

/// Gives what cannot be read another name.
pub(super) fn set_aside(path: PathBuf, why: String) -> Result<Notice, HistoryError> {
    let name = |number: u32| {
        let mut name = path.clone().into_os_string();
        name.push(if number == 0 { ".broken".to_owned() } else { format!(".{number}.broken") });
        PathBuf::from(name)
    };
    let free = (0..u32::MAX).map(name).find(|name| fs::symlink_metadata(name).is_err());
    let to = free.unwrap_or_else(|| name(0));
    files::rename(&path, &to)?;
    Ok(Notice { path, what: Found::SetAside { to, why } })
}

fn unnamed(layout: &Layout, table: Table, stem: &Stem) -> PathBuf {
    layout.tmp().join(sets::file_name(table, stem))
}
