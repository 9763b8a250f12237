//! The Parquet files that are there: a set of four for each segment that was finished.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    error::HistoryError,
    files::{self, Layout},
    schema::{TABLES, Table},
    stem::Stem,
};

/// Files of one segment. Without that of `intervals`, which comes last and goes first, a set is not whole.
#[derive(Debug, Default)]
pub(super) struct Set {
    pub(super) files: Vec<StoredFile>,
}

#[derive(Debug)]
pub(super) struct StoredFile {
    pub(super) table: &'static str,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

impl Set {
    pub(super) fn file(&self, table: Table) -> Option<&Path> {
        self.files.iter().find(|file| file.table == table.name).map(|file| file.path.as_path())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Name of a table's file.
pub(super) fn file_name(table: Table, stem: &Stem) -> String {
    format!("{}-{stem}.parquet", table.name)
}

/// Directory of a table's file, and those above it, the uppermost first.
pub(super) fn directories(layout: &Layout, table: Table, stem: &Stem) -> [PathBuf; 3] {
    let [date, hour] = stem.hour.partition();
    let table = layout.parquet().join(table.name);
    let date = table.join(date);
    let hour = date.join(hour);
    [table, date, hour]
}

/// Every set, oldest first. What is not called as our files are is not ours, and is not touched.
pub(super) fn list(layout: &Layout) -> Result<BTreeMap<Stem, Set>, HistoryError> {
    let mut sets = BTreeMap::<Stem, Set>::new();
    for table in TABLES.into_iter().rev() {
        let prefix = format!("{}-", table.name);
        for date in directories_in(&layout.parquet().join(table.name), "date=")? {
            for hour in directories_in(&date, "hour=")? {
                for entry in files::list(&hour)? {
                    let name = entry.file_name();
                    let stem =
                        name.to_str().and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(".parquet"));
                    let Some(stem) = stem.and_then(Stem::parse) else { continue };
                    let bytes = match entry.metadata() {
                        Ok(metadata) if metadata.is_file() => metadata.len(),
                        Ok(_) => continue,
                        Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                        Err(error) => return Err(HistoryError::io("look at", &entry.path())(error)),
                    };
                    let file = StoredFile { table: table.name, path: entry.path(), bytes };
                    sets.entry(stem).or_default().files.push(file);
                }
            }
        }
    }
    Ok(sets)
}

fn directories_in(path: &Path, prefix: &str) -> Result<Vec<PathBuf>, HistoryError> {
    // The type of an entry is its own, not that of what a link leads to.
    let is_one = |entry: &fs::DirEntry| {
        entry.file_type().is_ok_and(|kind| kind.is_dir())
            && entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix))
    };
    Ok(files::list(path)?.iter().filter(|entry| is_one(entry)).map(fs::DirEntry::path).collect())
}
