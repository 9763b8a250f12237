//! File systems of our own, each in a file behind a loop device.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{job::Job, machine};

/// A fresh file system, mounted; gone when dropped.
#[derive(Debug)]
pub struct Disk {
    // In this order: unmounted before the image goes.
    mount: Mount,
    _dir: TempDir,
}

#[derive(Debug)]
struct Mount(PathBuf);

impl Disk {
    /// Makes a file system of `kind` (ext4, xfs, btrfs). `None`, with the reason printed, when this machine cannot.
    pub fn new(kind: &str) -> Option<Self> {
        let mkfs = format!("mkfs.{kind}");
        if !machine::require_root() || !machine::require_cmd(&mkfs) || !machine::require_file_system(kind) {
            return None;
        }
        let dir = machine::temp_dir();
        let path = |name: &str| dir.path().join(name);
        let (image, mount) = (path("image"), path("mount"));
        let file = std::fs::File::create(&image).expect("the image");
        // The smallest that all of them accept.
        file.set_len(512 << 20).expect("the size of the image");
        std::fs::create_dir(&mount).expect("a place to mount");
        run(&[&mkfs, "-q", text(&image)]);
        run(&["mount", "-o", "loop", text(&image), text(&mount)]);
        Some(Self { mount: Mount(mount), _dir: dir })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount.0
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let done = Job::new(&["umount", "--lazy", "-d", text(&self.0)]).finish();
        if !done.status.success() {
            eprintln!("umount {}: {}", self.0.display(), done.stderr);
        }
    }
}

fn run(words: &[&str]) {
    let done = Job::new(words).finish();
    assert!(done.status.success(), "{words:?}: {}", done.stderr);
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}
