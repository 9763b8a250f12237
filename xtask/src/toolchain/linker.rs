//! bpf-linker: finding the pinned version, or building it.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::pins;
use crate::{
    process::{self, say},
    workspace::Workspace,
};

const NAME: &str = "bpf-linker";

/// The linker to use, built now if there is none.
pub(crate) fn find_or_install(workspace: &Workspace) -> Result<PathBuf> {
    let candidates = candidates(workspace);
    if let Some(found) = candidates.iter().find(|path| is_pinned(path)) {
        return Ok(found.clone());
    }
    install(workspace, candidates.iter().any(|path| path.exists()))
}

fn candidates(workspace: &Workspace) -> Vec<PathBuf> {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    // Where cargo installs need not be on the PATH.
    let installed = cargo_home.map(|home| home.join("bin").join(NAME));
    let own = workspace.tools().join("bin").join(NAME);
    process::find(NAME).into_iter().chain(installed).chain([own]).collect()
}

fn is_pinned(linker: &Path) -> bool {
    linker.exists()
        && process::output(Command::new(linker).arg("--version"))
            .is_ok_and(|printed| is_pinned_version(&printed))
}

fn is_pinned_version(printed: &str) -> bool {
    printed.split_whitespace().eq([NAME, pins::LINKER_VERSION])
}

fn install(workspace: &Workspace, another_exists: bool) -> Result<PathBuf> {
    say(format!(
        "building {NAME} {}, which turns the compiler's output into a BPF object (one to two minutes, once)",
        pins::LINKER_VERSION
    ));
    let mut cargo = workspace.cargo();
    cargo.args(["install", NAME, "--version", pins::LINKER_VERSION, "--locked"]);
    // Left to itself, cargo builds in a temporary directory and leaves only the program behind.
    cargo.env_remove("CARGO_TARGET_DIR");
    if another_exists {
        say(format!("another version of {NAME} is left as it is; ours goes to target/tools"));
        cargo.arg("--root").arg(workspace.tools());
    }
    process::run(&mut cargo).with_context(|| format!("install {NAME}"))?;
    candidates(workspace)
        .into_iter()
        .find(|path| is_pinned(path))
        .with_context(|| format!("{NAME} was installed, but where is unknown; is CARGO_INSTALL_ROOT set?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pinned_version_counts() {
        assert!(is_pinned_version("bpf-linker 0.10.4\n"));
        assert!(!is_pinned_version("bpf-linker 0.10.40\n"));
        assert!(!is_pinned_version("bpf-linker 0.9.15\n"));
    }
}
