//! A nightly compiler that builds `core` itself: the usual way of aya's users, on any distribution.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    pins,
    rustc::{self, Version},
};
use crate::process::{self, say};

/// A nightly that can build the object.
#[derive(Debug)]
pub(crate) struct Nightly {
    /// Its name to rustup.
    pub(crate) name: String,
    pub(crate) version: Version,
    /// Where its LLVM is.
    pub(crate) llvm_dir: PathBuf,
}

/// The first installed nightly that will do, the pinned one before others.
pub(crate) fn find() -> Result<Nightly> {
    let printed =
        process::output(&mut rustup(&["toolchain", "list"])).context("ask rustup for its toolchains")?;
    let names = nightlies(&printed);
    let mut refused = Vec::new();
    for name in names {
        match inspect(name) {
            Ok(found) => return Ok(found),
            Err(error) => refused.push(format!("{name}: {error:#}")),
        }
    }
    if refused.is_empty() {
        bail!("rustup has no nightly toolchain");
    }
    bail!("{}", refused.join("; "))
}

/// Installs the pinned nightly, with the source of `core`, and looks again.
pub(crate) fn install() -> Result<Nightly> {
    say(format!("installing Rust {} by rustup: a nightly compiler can build `core` for BPF", pins::NIGHTLY));
    process::run(&mut rustup(&typed())).context("install the nightly toolchain")?;
    find()
}

/// Installs the clippy of that toolchain.
pub(crate) fn install_clippy(name: &str) -> Result<()> {
    if process::output(&mut rustup(&["run", name, "cargo-clippy", "--version"])).is_ok() {
        return Ok(());
    }
    process::run(&mut rustup(&["component", "add", "clippy", "--toolchain", name]))
}

/// What `install` passes to rustup, for messages as well.
pub(crate) fn typed() -> [&'static str; 7] {
    ["toolchain", "install", pins::NIGHTLY, "--profile", "minimal", "--component", "rust-src"]
}

/// A call of rustup that our own toolchain has no say in.
pub(crate) fn rustup(arguments: &[&str]) -> Command {
    let mut rustup = Command::new("rustup");
    rustup.args(arguments).env_remove("RUSTUP_TOOLCHAIN").env_remove("LD_LIBRARY_PATH");
    rustup
}

fn inspect(name: &str) -> Result<Nightly> {
    let sysroot = rustc::sysroot(&mut rustup(&["run", name, "rustc"]))?;
    let source = sysroot.join("lib/rustlib/src/rust/library");
    ensure!(source.is_dir(), "it lacks the component rust-src");
    let version = Version::of(&mut rustup(&["run", name, "rustc"]))?;
    version.check()?;
    Ok(Nightly { name: name.to_owned(), version, llvm_dir: sysroot.join("lib") })
}

/// The nightlies in the output of `rustup toolchain list`, the pinned one first.
fn nightlies(printed: &str) -> Vec<&str> {
    let mut names: Vec<&str> = printed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.starts_with("nightly"))
        .collect();
    names.sort_by_key(|name| !name.starts_with(pins::NIGHTLY));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_nightly_comes_first() {
        let printed = "stable-x86_64-unknown-linux-gnu (active, default)\n\
            nightly-x86_64-unknown-linux-gnu\nnightly-2026-05-19-x86_64-unknown-linux-gnu (override)\n";
        let expected = ["nightly-2026-05-19-x86_64-unknown-linux-gnu", "nightly-x86_64-unknown-linux-gnu"];
        assert_eq!(nightlies(printed), expected);
        assert!(nightlies("no installed toolchains\n").is_empty());
    }
}
