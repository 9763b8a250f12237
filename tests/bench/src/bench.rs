//! What all measurements share: the directory, the receiver, the programs.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::{process::Running, setup::floor::Floor, work};

/// A file system in memory: relays between files on a disk would measure its journal.
const MEMORY: &str = "/dev/shm";

/// What measurements share; cleans up when dropped.
pub(crate) struct Bench {
    own_program: PathBuf,
    zc: PathBuf,
    pub(crate) floor: Floor,
    port: u16,
    /// Things that do not spoil a measurement and should be known.
    pub(crate) warnings: Vec<String>,
    /// Programs of others were seen.
    pub(crate) foreign: bool,
    _receiver: Running,
    dir: TempDir,
}

impl Bench {
    /// Prepares everything that takes time once.
    pub(crate) fn prepare() -> Result<Self> {
        // SAFETY: always succeeds, touches no memory.
        ensure!(unsafe { libc::geteuid() } == 0, "the benchmark attaches kernel programs and needs root");
        let own_program = env::current_exe().context("find this program")?;
        let zc = match env::var_os("ZC_BIN") {
            Some(path) => PathBuf::from(path),
            None => own_program.with_file_name("zc"),
        };
        if !zc.is_file() {
            bail!("there is no zc at {}; start this through `cargo xtask bench`", zc.display());
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix("zc-bench-");
        let dir = if Path::new(MEMORY).is_dir() { builder.tempdir_in(MEMORY) } else { builder.tempdir() };
        let dir = dir.context("make a directory for files")?;
        work::prepare(dir.path())?;
        let mut command = Command::new(&own_program);
        command.args(["work", "discard"]);
        let mut receiver = Running::start(command, true)?;
        let port = receiver.wait_for_line("")?.trim().parse().context("the receiver's port")?;
        let floor = Floor::load()?;
        Ok(Self {
            own_program,
            zc,
            floor,
            port,
            warnings: Vec::new(),
            foreign: false,
            _receiver: receiver,
            dir,
        })
    }

    /// This program, which does the workloads too.
    pub(crate) fn own_program(&self) -> &Path {
        &self.own_program
    }

    /// The zc that is measured.
    pub(crate) fn zc(&self) -> &Path {
        &self.zc
    }

    /// Where the workloads' files are; for reports too.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where the receiver listens.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Notes something that should be known, once.
    pub(crate) fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}
