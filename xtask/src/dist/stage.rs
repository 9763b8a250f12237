//! A directory that looks like the inside of an archive.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};

/// The directory. Modes and times do not depend on who makes it, and when.
pub(super) struct Stage {
    root: PathBuf,
    time: SystemTime,
}

impl Stage {
    /// An empty one.
    pub(super) fn new(root: PathBuf, epoch_seconds: u64) -> Result<Self> {
        make_empty(&root)?;
        set_mode(&root, 0o755)?;
        Ok(Self { root, time: SystemTime::UNIX_EPOCH + Duration::from_secs(epoch_seconds) })
    }

    /// Where it is.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Puts a file into it.
    pub(super) fn add(&self, path: &str, mode: u32, contents: &[u8]) -> Result<()> {
        let file = self.root.join(path);
        let mut missing = Vec::new();
        let mut directory = file.parent();
        while let Some(above) = directory.filter(|above| !above.exists()) {
            missing.push(above.to_path_buf());
            directory = above.parent();
        }
        for directory in missing.iter().rev() {
            fs::create_dir(directory).with_context(|| format!("make {}", directory.display()))?;
            set_mode(directory, 0o755)?;
        }
        fs::write(&file, contents).with_context(|| format!("write {}", file.display()))?;
        set_mode(&file, mode)
    }

    /// Gives everything in it the same time, once it is all there.
    pub(super) fn finish(&self) -> Result<()> {
        set_times(&self.root, self.time).with_context(|| format!("set times in {}", self.root.display()))
    }
}

/// Makes a directory, and removes what was in it.
pub(super) fn make_empty(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove {}", directory.display()));
        }
        _ => {}
    }
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))
}

/// Whatever the umask says.
fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", path.display()))
}

fn set_times(path: &Path, time: SystemTime) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            set_times(&entry?.path(), time)?;
        }
    }
    File::open(path)?.set_modified(time)
}
