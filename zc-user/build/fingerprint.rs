//! A fingerprint of everything the eBPF object is made from.
//!
//! `cargo xtask build-ebpf` writes it beside the object, and the build script of `zc-user` compares it
//! with the present sources, so that an object older than its sources is never embedded: the two sides
//! share the layout of their maps, and a mismatch would be read as wrong numbers, not as an error.
//!
//! Both include this one file by `#[path]`, so it depends on nothing but the standard library. Contents
//! are hashed rather than time stamps compared, because a checkout or a cache restores files in any order.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Where the object is left, relative to the workspace: fixed, so that no setting has to be passed around.
pub(crate) const OBJECT_DIR: &str = "target/ebpf";
/// The object within [`OBJECT_DIR`], and within the build script's output.
pub(crate) const OBJECT: &str = "zc-ebpf.o";
/// The file within [`OBJECT_DIR`] whose first line is the fingerprint the object was built from.
pub(crate) const SOURCES: &str = "zc-ebpf.sources";

/// Directories of the crates that end up in the object.
pub(crate) const CRATES: [&str; 2] = ["zc-common", "zc-ebpf"];
/// Single files that change the object as well.
pub(crate) const FILES: [&str; 1] = ["Cargo.lock"];

/// 64-bit FNV-1a: small, and the same on every machine and release, which std's hasher does not promise.
pub(crate) struct Fnv1a(u64);

impl Fnv1a {
    /// Starts a hash.
    pub(crate) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds bytes preceded by their length, so that no two lists of strings run together alike.
    pub(crate) fn field(&mut self, bytes: &[u8]) {
        self.bytes(&(bytes.len() as u64).to_le_bytes());
        self.bytes(bytes);
    }

    /// Adds bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// The hash in sixteen hexadecimal digits.
    pub(crate) fn hex(&self) -> String {
        format!("{:016x}", self.0)
    }
}

/// The fingerprint of the sources under `root`, the directory of the workspace.
///
/// # Errors
/// Names the file or directory that could not be read.
pub(crate) fn of_sources(root: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    for name in CRATES {
        collect(root, Path::new(name), &mut files)?;
    }
    files.extend(FILES.map(PathBuf::from));
    files.sort();

    let mut hash = Fnv1a::new();
    for file in files {
        let path = root.join(&file);
        let contents = fs::read(&path).map_err(|error| named(&path, &error))?;
        hash.field(file.as_os_str().as_encoded_bytes());
        hash.field(&contents);
    }
    Ok(hash.hex())
}

/// The fingerprint stored beside the object, if there is one.
pub(crate) fn of_object(root: &Path) -> Option<String> {
    let stored = fs::read_to_string(root.join(OBJECT_DIR).join(SOURCES)).ok()?;
    stored.lines().next().map(str::to_owned)
}

/// Only what the compiler reads counts: an editor's temporary file must not make the object stale.
fn collect(root: &Path, dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let path = root.join(dir);
    for entry in fs::read_dir(&path).map_err(|error| named(&path, &error))? {
        let entry = entry.map_err(|error| named(&path, &error))?;
        let file = dir.join(entry.file_name());
        if entry.file_type().map_err(|error| named(&entry.path(), &error))?.is_dir() {
            collect(root, &file, files)?;
        } else if file.extension().is_some_and(|ext| ext == "rs") || file.ends_with("Cargo.toml") {
            files.push(file);
        }
    }
    Ok(())
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("read {}: {error}", path.display()))
}

// `cargo test` runs these with xtask's; a build script has no tests of its own.
#[cfg(test)]
mod tests {
    use std::{env, process};

    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        let mut hash = Fnv1a::new();
        assert_eq!(hash.hex(), "cbf29ce484222325");
        hash.bytes(b"foobar");
        assert_eq!(hash.hex(), "85944171f73967e8");
    }

    #[test]
    fn fields_do_not_run_together() {
        let hash = |fields: [&str; 2]| {
            let mut hash = Fnv1a::new();
            for field in fields {
                hash.field(field.as_bytes());
            }
            hash.hex()
        };
        assert_ne!(hash(["ab", "c"]), hash(["a", "bc"]));
    }

    #[test]
    fn it_follows_what_the_compiler_reads_and_nothing_else() -> io::Result<()> {
        let root = env::temp_dir().join(format!("zc-fingerprint-{}", process::id()));
        for name in CRATES {
            fs::create_dir_all(root.join(name).join("src/hooks"))?;
        }
        fs::write(root.join("Cargo.lock"), "")?;
        let source = root.join("zc-ebpf/src/hooks/read.rs");
        fs::write(&source, "one")?;
        let first = of_sources(&root)?;

        fs::write(root.join("zc-ebpf/src/hooks/.read.rs.swp"), "")?;
        assert_eq!(of_sources(&root)?, first, "an editor's file");
        fs::write(&source, "two")?;
        assert_ne!(of_sources(&root)?, first, "other contents");
        fs::rename(&source, root.join("zc-common/src/read.rs"))?;
        assert_ne!(of_sources(&root)?, first, "another place");
        fs::remove_dir_all(&root)
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = of_sources(Path::new("/nonexistent")).map_err(|error| error.to_string());
        assert!(error.is_err_and(|message| message.contains("/nonexistent/zc-common")));
    }
}
