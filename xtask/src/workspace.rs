//! Where things are, so that every command works from any directory of the workspace.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{fingerprint, process};

/// The directories that the commands work in.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the workspace that this program belongs to.
    pub(crate) fn find() -> Result<Self> {
        // The variable is cargo's at run time; the constant serves who starts the binary by hand.
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.parent().context("xtask lies in no directory")?.to_path_buf();
        anyhow::ensure!(
            root.join("zc-ebpf").is_dir(),
            "{} is not the workspace of zc; start this as `cargo xtask` within the checkout",
            root.display()
        );
        let target = match env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
            Some(dir) => env::current_dir().context("find the current directory")?.join(dir),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The directory of the workspace's `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The eBPF object, where the build script of `zc-user` looks for it.
    pub(crate) fn object(&self) -> PathBuf {
        self.root.join(fingerprint::OBJECT_DIR).join(fingerprint::OBJECT)
    }

    /// The file beside the object that says what it was built from.
    pub(crate) fn object_sources(&self) -> PathBuf {
        self.root.join(fingerprint::OBJECT_DIR).join(fingerprint::SOURCES)
    }

    /// The file beside the object that says by what recipe it was built.
    pub(crate) fn object_recipe(&self) -> PathBuf {
        self.object().with_extension("recipe")
    }

    /// A program built with the release profile.
    pub(crate) fn release_bin(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// A program of the tests, where they look for it: built with the profile `checks`, as they are.
    pub(crate) fn checks_bin(&self, name: &str) -> PathBuf {
        self.target.join("checks").join(name)
    }

    /// Where what is handed out is put.
    pub(crate) fn dist(&self) -> PathBuf {
        self.target.join("dist")
    }

    /// Programs that are installed for this workspace alone, when the user's own must be left as they are.
    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join("target/tools")
    }

    /// A nested cargo, of the same toolchain, for what is built for this machine.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(process::cargo());
        cargo.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        cargo
    }
}
