//! Embeds the eBPF object and the commit, and works without either.
//!
//! `cargo build`, `cargo clippy` and an IDE must work where no eBPF toolchain is, so this script only copies
//! an object that `cargo xtask build-ebpf` made earlier. Without one the library embeds an empty file, and
//! says at run time what to do.

use std::{
    env,
    error::Error,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

#[path = "build/fingerprint.rs"]
mod fingerprint;

fn main() -> Result<(), Box<dyn Error>> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set")?);
    let root = manifest.parent().ok_or("the crate has no parent directory")?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);

    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    let embedded = out.join(fingerprint::OBJECT);
    match object(root)? {
        Some(object) => fs::copy(&object, &embedded)
            .map_err(|error| format!("copy {} to {}: {error}", object.display(), embedded.display()))
            .map(drop)?,
        None => fs::write(&embedded, [])
            .map_err(|error| format!("write an empty {}: {error}", embedded.display()))?,
    }
    println!("cargo:rustc-env=ZC_COMMIT={}", commit(root).unwrap_or_default());
    Ok(())
}

/// The object to embed: what the environment names, else the workspace's own if it is of these sources.
fn object(root: &Path) -> Result<Option<PathBuf>, Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=ZC_EBPF_OBJECT");
    if let Some(named) = env::var_os("ZC_EBPF_OBJECT").filter(|value| !value.is_empty()) {
        let named = PathBuf::from(named);
        println!("cargo:rerun-if-changed={}", named.display());
        return Ok(Some(named));
    }

    watch_object_dir(&root.join(fingerprint::OBJECT_DIR));
    for name in fingerprint::CRATES.iter().chain(&fingerprint::FILES) {
        if root.join(name).exists() {
            println!("cargo:rerun-if-changed={}", root.join(name).display());
        }
    }
    let object = root.join(fingerprint::OBJECT_DIR).join(fingerprint::OBJECT);
    let Some(built_from) = fingerprint::of_object(root).filter(|_| object.is_file()) else {
        return Ok(None);
    };
    if built_from == fingerprint::of_sources(root)? {
        return Ok(Some(object));
    }
    println!(
        "cargo:warning=the eBPF object is older than its sources and is left out; \
         `cargo xtask build-ebpf` renews it"
    );
    Ok(None)
}

/// Watches the directory in which an object may appear.
///
/// Cargo treats a watched path that does not exist as always changed, and would build the crate again every
/// time. So the directory is created, and with an old time stamp: cargo compares it with the start of this
/// very run. Where that fails (a read-only checkout) nothing can appear either.
fn watch_object_dir(dir: &Path) {
    if !dir.is_dir() {
        let created = fs::create_dir_all(dir)
            .and_then(|()| File::open(dir))
            .and_then(|opened| opened.set_modified(SystemTime::UNIX_EPOCH));
        if created.is_err() {
            return;
        }
    }
    println!("cargo:rerun-if-changed={}", dir.display());
}

/// The commit of the checkout, or nothing when this is not a checkout of the project itself.
fn commit(root: &Path) -> Option<String> {
    let asked = [
        "rev-parse",
        "--show-toplevel",
        "--git-path",
        "HEAD",
        "--git-path",
        "logs/HEAD",
        "--short=12",
        "HEAD",
    ];
    let output = Command::new("git").args(asked).current_dir(root).output().ok()?;
    if !output.status.success() {
        return None;
    }
    let printed = String::from_utf8(output.stdout).ok()?;
    let [top, head, log, commit] = printed.lines().collect::<Vec<_>>().try_into().ok()?;
    // An unpacked archive may lie inside some other repository, whose commit says nothing about it.
    if fs::canonicalize(top).ok()? != fs::canonicalize(root).ok()? {
        return None;
    }
    // HEAD changes when another branch is checked out, its log with every commit.
    for file in [head, log] {
        let file = root.join(file);
        if file.exists() {
            println!("cargo:rerun-if-changed={}", file.display());
        }
    }
    Some(commit.to_owned())
}
