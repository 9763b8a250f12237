//! Ids of control groups to their paths.
//!
//! The id of a cgroup of the hierarchy version 2 (`bpf_get_current_cgroup_id`) is the inode number of its
//! directory in the cgroup2 file system. There is no call that turns it into a path, so the tree is walked
//! when an unknown id comes up, within bounds, and remembered.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::{
        ffi::OsStringExt as _,
        fs::{DirEntryExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

/// Directories of one walk.
const DIRECTORIES_MAX: usize = 65_536;
/// Walks in the life of a [`Cgroups`]: an id of a cgroup that is gone costs one each time.
const WALKS_MAX: usize = 256;

/// Where the hierarchy version 2 is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The directory within the hierarchy that is mounted; `/` is all of it.
    pub root: PathBuf,
    /// Where it is mounted.
    pub point: PathBuf,
}

/// Paths of cgroups by id.
#[derive(Debug)]
pub struct Cgroups {
    mount: Option<Mount>,
    paths: HashMap<u64, Option<String>>,
    walks_left: usize,
}

impl Cgroups {
    /// Of this machine; without the hierarchy version 2 no id has a path.
    pub fn new() -> Self {
        let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
        Self::at(cgroup2_mount(&mounts))
    }

    /// Of a hierarchy mounted somewhere.
    pub fn at(mount: Option<Mount>) -> Self {
        Self { mount, paths: HashMap::new(), walks_left: WALKS_MAX }
    }

    /// The path of a cgroup in its hierarchy, `/` for its root; `None` when it is gone or out of sight.
    pub fn path(&mut self, id: u64) -> Option<&str> {
        if !self.paths.contains_key(&id) {
            self.walk();
            self.paths.entry(id).or_default();
        }
        self.paths.get(&id)?.as_deref()
    }

    /// Looks at every directory again, widest first: cgroups that are missed by a bound are deep ones.
    fn walk(&mut self) {
        let Some(mount) = self.mount.clone().filter(|_| self.walks_left > 0) else { return };
        self.walks_left -= 1;
        if let Ok(root) = fs::metadata(&mount.point) {
            self.remember(root.ino(), &mount, &mount.point);
        }
        let mut level = vec![mount.point.clone()];
        let mut seen = 0;
        while !level.is_empty() {
            let mut next = Vec::new();
            for directory in level {
                // A cgroup may go away at any moment.
                for (id, path) in children(&directory).unwrap_or_default() {
                    seen += 1;
                    if seen > DIRECTORIES_MAX {
                        return;
                    }
                    self.remember(id, &mount, &path);
                    next.push(path);
                }
            }
            level = next;
        }
    }

    fn remember(&mut self, id: u64, mount: &Mount, path: &Path) {
        let below = path.strip_prefix(&mount.point).unwrap_or(path);
        let path = if below.as_os_str().is_empty() { mount.root.clone() } else { mount.root.join(below) };
        self.paths.insert(id, Some(path.to_string_lossy().into_owned()));
    }
}

impl Default for Cgroups {
    fn default() -> Self {
        Self::new()
    }
}

fn children(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut children = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            children.push((entry.ino(), entry.path()));
        }
    }
    Ok(children)
}

/// The mount of the hierarchy version 2 in the text of `/proc/PID/mountinfo` (see proc(5)); the
/// widest one when there are several.
pub fn cgroup2_mount(mountinfo: &[u8]) -> Option<Mount> {
    mountinfo
        .split(|&byte| byte == b'\n')
        .filter_map(cgroup2_of_line)
        .min_by_key(|mount| mount.root.as_os_str().len())
}

/// `id parent device root point options optional… - type source options`.
fn cgroup2_of_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let root = fields.nth(3)?;
    let point = fields.next()?;
    let mut after = fields.skip_while(|field| *field != b"-");
    (after.nth(1)? == b"cgroup2").then(|| Mount { root: unescape(root), point: unescape(point) })
}

/// Space, tab, line end and backslash are written as a backslash and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let digits = after.first_chunk::<3>().filter(|_| first == b'\\');
        match digits.and_then(|digits| octal(*digits)) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => bytes.push(first),
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

fn octal(digits: [u8; 3]) -> Option<u8> {
    digits.into_iter().try_fold(0_u8, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(digit - b'0'),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_is_found_among_other_mounts() {
        let text = b"\
22 28 0:20 / /proc rw,nosuid shared:5 - proc proc rw\n\
30 24 0:26 /../.. /tmp/cg\\040two rw - cgroup2 cgroup2 rw\n\
31 24 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:9 master:1 - cgroup2 cgroup2 rw,nsdelegate\n\
32 24 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        let mount = cgroup2_mount(text).unwrap();
        assert_eq!(mount, Mount { root: "/".into(), point: "/sys/fs/cgroup/unified".into() });
        let second = text.split(|&byte| byte == b'\n').nth(1).unwrap();
        assert_eq!(cgroup2_of_line(second).unwrap().point, Path::new("/tmp/cg two"));
    }

    #[test]
    fn no_hierarchy_and_broken_lines_are_no_mount() {
        assert_eq!(cgroup2_mount(b""), None);
        assert_eq!(
            cgroup2_mount(b"1 2 3\n\n30 24 0:26 / /x rw - cgroup\n30 24 0:26 / /x rw cgroup2\n"),
            None
        );
    }

    #[test]
    fn only_whole_octal_escapes_are_unescaped() {
        assert_eq!(unescape(b"a\\040b\\134c"), Path::new("a b\\c"));
        assert_eq!(unescape(b"a\\04\\999\\777\\"), Path::new("a\\04\\999\\777\\"));
    }

    #[test]
    fn directories_are_found_by_their_inode_also_when_they_come_later() {
        let tree = tempfile::tempdir().unwrap();
        let deep = tree.path().join("system.slice/nginx.service");
        fs::create_dir_all(&deep).unwrap();
        let id = |path: &Path| fs::metadata(path).unwrap().ino();
        let mut cgroups = Cgroups::at(Some(Mount { root: "/".into(), point: tree.path().into() }));
        assert_eq!(cgroups.path(id(tree.path())), Some("/"));
        assert_eq!(cgroups.path(id(&deep)), Some("/system.slice/nginx.service"));
        let later = tree.path().join("later");
        fs::create_dir(&later).unwrap();
        assert_eq!(cgroups.path(id(&later)), Some("/later"));
        fs::remove_dir(&later).unwrap();
        assert_eq!(cgroups.path(id(tree.path())), Some("/"));
        assert_eq!(cgroups.path(u64::MAX), None);
    }

    #[test]
    fn walks_are_bounded() {
        let tree = tempfile::tempdir().unwrap();
        let mut cgroups = Cgroups::at(Some(Mount { root: "/".into(), point: tree.path().into() }));
        for id in 0..2 * WALKS_MAX as u64 {
            let _ = cgroups.path(u64::MAX - id);
        }
        assert_eq!(cgroups.walks_left, 0);
    }
}
