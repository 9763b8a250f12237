//! Files and directories of the history: who may read them, that no link is followed, and that they are on the disk.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::error::HistoryError;

const FILE_MODE: u32 = 0o640;
const DIR_MODE: u32 = 0o750;
/// What is not our file may be a pipe that nobody writes to: opening it must not wait.
const NO_LINK: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;

/// The parts of a state directory.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) dir: PathBuf,
}

impl Layout {
    /// Held by whoever writes.
    pub(super) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// Segments: what is not Parquet yet.
    pub(super) fn open(&self) -> PathBuf {
        self.dir.join("open")
    }

    /// What is finished. Nothing else is in it, so that it can be copied to a store as it is.
    pub(super) fn parquet(&self) -> PathBuf {
        self.dir.join("parquet")
    }

    /// What is being written, and has no other name yet.
    pub(super) fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }
}

/// Makes a directory unless it is there; whether it was made. A link to a directory is none, but for the one that the user named.
pub(super) fn make_dir(path: &Path) -> Result<bool, HistoryError> {
    match DirBuilder::new().mode(DIR_MODE).create(path) {
        Ok(()) => {
            if let Some(parent) = path.parent() {
                sync_dir(parent)?;
            }
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let kind = fs::symlink_metadata(path).map_err(HistoryError::io("look at", path))?.file_type();
            if kind.is_dir() {
                return Ok(false);
            }
            Err(HistoryError::InTheWay { path: path.to_path_buf(), expected: "directory", found: name(kind) })
        }
        Err(error) => Err(HistoryError::io("make the directory", path)(error)),
    }
}

/// Makes the directory that the user named, and those above it.
pub(super) fn make_top(dir: &Path) -> Result<(), HistoryError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(DIR_MODE);
    builder.create(dir).map_err(HistoryError::io("make the directory", dir))?;
    // It may have been there for long, above it may be what we cannot read: only a crash right after this would show it.
    let _ = dir.parent().map(sync_dir);
    let mode = fs::metadata(dir).map_err(HistoryError::io("look at", dir))?.permissions().mode();
    if mode & 0o002 == 0 { Ok(()) } else { Err(HistoryError::WritableByAll(dir.to_path_buf())) }
}

/// A new file; an error when there is something of that name.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .custom_flags(NO_LINK)
        .open(path)
}

/// The file that is locked.
pub(super) fn create_or_open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE).custom_flags(NO_LINK);
    regular(options.open(path)?)
}

/// A file to append to.
pub(super) fn open_to_append(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().append(true).custom_flags(NO_LINK).open(path)?)
}

/// A file to read and to cut.
pub(super) fn open_to_mend(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().read(true).write(true).custom_flags(NO_LINK).open(path)?)
}

/// A file to read.
pub(super) fn open_to_read(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().read(true).custom_flags(NO_LINK).open(path)?)
}

fn regular(file: File) -> io::Result<File> {
    let kind = file.metadata()?.file_type();
    if kind.is_file() { Ok(file) } else { Err(io::Error::other(format!("it is {}", name(kind)))) }
}

fn name(kind: fs::FileType) -> &'static str {
    if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_file() {
        "a regular file"
    } else {
        "a device, pipe or socket"
    }
}

/// Puts names that were given or taken away in a directory on the disk.
pub(super) fn sync_dir(path: &Path) -> Result<(), HistoryError> {
    // The empty path is the parent of a name without directory.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|dir| dir.sync_all()).map_err(HistoryError::io("sync", path))
}

/// Gives a file another name. A crash leaves one of both.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), HistoryError> {
    fs::rename(from, to).map_err(HistoryError::io("rename", from))
}

/// Takes a file away; whether there was one.
pub(super) fn remove(path: &Path) -> Result<bool, HistoryError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(HistoryError::io("remove", path)(error)),
    }
}

/// What is in a directory, by name; nothing when there is no directory.
pub(super) fn list(path: &Path) -> Result<Vec<fs::DirEntry>, HistoryError> {
    let failed = HistoryError::io("list", path);
    let mut entries = match fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    Ok(entries)
}
