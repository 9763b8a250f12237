//! What can go wrong, and what was noticed and mended.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use parquet::errors::ParquetError;

/// Why the history could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The system said no.
    #[error("cannot {what} {}: {source}; {}", path.display(), advice(source))]
    Io {
        /// What was being done, as a verb.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process writes to the directory.
    #[error(
        "{} is written by another process{}; end that one, or give this one a directory of its own",
        dir.display(),
        holder.map(|pid| format!(" ({pid})")).unwrap_or_default()
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The process that wrote its id into the lock file.
        holder: Option<u32>,
    },
    /// Something else is where a directory or a file of the history has to be.
    #[error("{} is not a {expected} but {found}; move it away, or give another directory", path.display())]
    InTheWay {
        /// What it is called.
        path: PathBuf,
        /// `directory` or `regular file`.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// Everybody may write to the directory.
    #[error("everybody may write to {}; `chmod o-w` it, or give another directory", .0.display())]
    WritableByAll(PathBuf),
    /// One interval has more than a record holds.
    #[error("an interval of {bytes} bytes is larger than a record may be ({max_bytes}); look more often")]
    TooLarge {
        /// Its size, encoded.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// A Parquet file could not be written.
    #[error(
        "cannot write {}: {source}; its segment is kept, and finished when it is tried again", path.display()
    )]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the writer said.
        source: ParquetError,
    },
}

impl HistoryError {
    /// For `map_err`.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, path: path.to_path_buf(), source }
    }
}

/// What a user can do about an error of the system.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room, or keep less history; what was written before is kept"
        }
        io::ErrorKind::FileTooLarge => "raise the limit on the size of files (ulimit -f)",
        io::ErrorKind::ReadOnlyFilesystem => "mount the file system for writing, or give another directory",
        io::ErrorKind::PermissionDenied => "run as a user who may, or give another directory",
        io::ErrorKind::NotFound => "does the directory exist, and is its file system mounted?",
        _ => "see the system's log for what is wrong with the disk",
    }
}

/// Something that was wrong with the stored history, and what was done about it. Nothing of it keeps the history from working.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The file.
    pub path: PathBuf,
    /// What was found and done.
    pub what: Found,
}

/// What was found in a file, and done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The end of a segment was no whole record, and was cut away.
    TornTail {
        /// How many bytes.
        bytes: u64,
        /// What is wrong with them.
        why: String,
    },
    /// The file cannot be read, and was given another name.
    SetAside {
        /// The new name.
        to: PathBuf,
        /// Why.
        why: String,
    },
    /// A record, row or end of a file cannot be read, and was left out.
    LeftOut {
        /// Why.
        why: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.what {
            Found::TornTail { bytes, why } => {
                write!(f, "{path}: the last {bytes} bytes were cut away: {why}; what is before them is kept")
            }
            Found::SetAside { to, why } => write!(f, "{path}: {why}; it is now called {}", to.display()),
            Found::LeftOut { why } => write!(f, "{path}: left out: {why}"),
        }
    }
}

impl Notice {
    pub(super) fn left_out(path: &Path, why: impl fmt::Display) -> Self {
        Self { path: path.to_path_buf(), what: Found::LeftOut { why: why.to_string() } }
    }
}
