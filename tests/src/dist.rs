//! What `cargo xtask dist` makes, and a root directory that it is installed into.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use tempfile::TempDir;

use crate::{
    job::{Done, Job},
    machine, zc,
};

/// The time of every file.
pub const EPOCH_SECONDS: &str = "1700000000";

/// The workspace.
pub fn workspace() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::canonicalize(root).expect("the workspace")
}

/// A file of `xtask/dist`.
pub fn source(name: &str) -> String {
    let path = workspace().join("xtask/dist").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What is handed out.
#[derive(Debug)]
pub struct Packages {
    dir: PathBuf,
}

impl Packages {
    /// Packs the zc under test, once for all tests. `None`, with the reason printed, when a tool is missing.
    pub fn make() -> Option<&'static Self> {
        static MADE: OnceLock<Packages> = OnceLock::new();
        let tools = ["tar", "gzip", "strip", "dpkg", "dpkg-deb", "dpkg-shlibdeps", "lintian"];
        let able = tools.iter().all(|tool| machine::require_cmd(tool));
        able.then(|| MADE.get_or_init(|| Self::make_in(machine::target_tmp().join("dist"), "022")))
    }

    /// Packs it again into a directory of its own, for a user with this umask.
    pub fn make_in(dir: PathBuf, umask: &str) -> Self {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let script = format!("umask {umask}; exec \"$@\"");
        let bin = path(&zc::binary());
        let output = path(&dir);
        let words = ["sh", "-c", &script, "sh", &cargo, "run", "--quiet", "--package", "xtask", "--"];
        let words = [&words[..], &["dist", "--bin", &bin, "--output", &output]].concat();
        let done = Job::new(&words).dir(&workspace()).env("SOURCE_DATE_EPOCH", EPOCH_SECONDS).finish();
        assert_eq!(done.code(), 0, "{}", done.stderr);
        Self { dir }
    }

    /// Where they are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The version that is packed.
    pub fn version() -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// The Debian package.
    pub fn debian(&self) -> PathBuf {
        self.dir.join(format!("zc_{}_amd64.deb", Self::version()))
    }

    /// The archive.
    pub fn archive(&self) -> PathBuf {
        self.dir.join(format!("zc-{}-x86_64-linux.tar.gz", Self::version()))
    }

    /// Unpacks the archive; returns the directory in it.
    pub fn unpack(&self, into: &Path) -> PathBuf {
        must(&["tar", "--extract", "--file", &path(&self.archive()), "--directory", &path(into)]);
        into.join(format!("zc-{}-x86_64-linux", Self::version()))
    }
}

/// Text of a path.
pub fn path(path: &Path) -> String {
    path.to_str().expect("a UTF-8 path").to_owned()
}

/// Runs what must end well; returns what it printed.
pub fn must(words: &[&str]) -> String {
    let done = Job::new(words).finish();
    assert_eq!(done.code(), 0, "{words:?}: {}", done.stderr);
    done.stdout_text()
}

/// All that is below a directory, without it; directories end in a slash.
pub fn tree(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let entry = entry.expect("an entry");
            let is_dir = entry.file_type().expect("its type").is_dir();
            let below = path(entry.path().strip_prefix(root).expect("below"));
            found.insert(if is_dir { below + "/" } else { below });
            if is_dir {
                left.push(entry.path());
            }
        }
    }
    found
}

/// A system of busybox and the libraries of zc, with packages of its own.
///
/// dpkg runs where all but this directory is read-only, so that a script that goes astray fails instead of changing this
/// machine.
#[derive(Debug)]
pub struct Root {
    dir: TempDir,
}

impl Root {
    /// A fresh one.
    pub fn new() -> Self {
        let root = Self { dir: machine::temp_dir() };
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        for directory in
            ["bin", "etc", "proc", "run", "tmp", "usr/bin", "var/lib/dpkg/info", "var/lib/dpkg/updates"]
        {
            fs::create_dir_all(root.at(directory)).expect("a directory");
        }
        for file in ["var/lib/dpkg/status", "var/lib/dpkg/available"] {
            fs::write(root.at(file), "").expect("a file");
        }
        fs::write(root.at("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n").expect("users");
        fs::write(root.at("etc/group"), "root:x:0:\n").expect("groups");
        fs::create_dir(root.at("dev")).expect("a directory");
        must(&["mknod", "-m", "666", &path(&root.at("dev/null")), "c", "1", "3"]);
        let busybox = machine::find_program("busybox").expect("busybox");
        fs::copy(busybox, root.at("bin/busybox")).expect("busybox");
        for applet in ["sh", "rm", "cat", "ls"] {
            symlink("busybox", root.at("bin").join(applet)).expect("an applet");
        }
        for line in must(&["ldd", &path(&zc::binary())]).lines() {
            let library = line.split_once("=> ").map_or(line, |(_, place)| place).split_whitespace().next();
            let Some(library) = library.filter(|library| library.starts_with('/')) else { continue };
            let place = root.at(library.trim_start_matches('/'));
            fs::create_dir_all(place.parent().expect("a parent")).expect("a directory");
            fs::copy(library, place).expect("a library");
        }
        root
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path in it.
    pub fn at(&self, below: &str) -> PathBuf {
        self.path().join(below)
    }

    /// Puts a script into it that a package may call, which writes down how.
    pub fn record_calls_of(&self, name: &str) {
        let script = format!("#!/bin/sh\necho \"{name} $*\" >>/calls\n");
        fs::write(self.at("usr/bin").join(name), script).expect("a script");
        fs::set_permissions(self.at("usr/bin").join(name), fs::Permissions::from_mode(0o755))
            .expect("its mode");
    }

    /// What was called since it was asked last.
    pub fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.at("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.at("calls"));
        calls.lines().map(str::to_owned).collect()
    }

    /// dpkg on it; it must end well.
    pub fn dpkg(&self, arguments: &[&str]) -> Done {
        let root = path(self.path());
        let script = "mount --bind \"$1\" \"$1\"; mount -o remount,bind,ro /; shift; exec \"$@\"";
        let (root_option, log) = (format!("--root={root}"), "--log=/dev/null");
        let words = ["unshare", "--mount", "sh", "-ec", script, "sh", &root, "dpkg", &root_option, log];
        // Its libraries are there, as no package of it.
        let words = [&words[..], &["--force-depends", "--no-triggers"], arguments].concat();
        let done = Job::new(&words).env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive").finish();
        assert_eq!(done.code(), 0, "{arguments:?}: {}{}", done.stdout_text(), done.stderr);
        done
    }

    /// A program of it, within it.
    pub fn run(&self, words: &[&str]) -> Done {
        Job::new(&[&["chroot", &path(self.path())], words].concat()).finish()
    }

    /// Owner and mode of a file.
    pub fn owner_and_mode(&self, below: &str) -> (u32, u32, u32) {
        let metadata = fs::symlink_metadata(self.at(below)).expect("a file");
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
    }
}

impl Default for Root {
    fn default() -> Self {
        Self::new()
    }
}

/// The values of a setting of the unit, in order.
pub fn unit(setting: &str) -> Vec<String> {
    let text = source("zc.service");
    let values = text.lines().filter_map(|line| line.strip_prefix(setting)?.strip_prefix('='));
    values.flat_map(str::split_whitespace).map(str::to_owned).collect()
}
