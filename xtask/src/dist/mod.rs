//! `cargo xtask dist`: what is handed out, as an archive and as a Debian package.
//!
//! Both are made by the tools that everybody has who makes such files (`tar`, `dpkg-deb`), from one list of contents. The same binary and
//! the same commit make the same bytes.

mod contents;
mod debian;
mod notices;
mod stage;
mod tarball;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cli::DistOptions,
    launch, packages,
    process::{self, say},
    workspace::Workspace,
};

/// What is packed, and as of when.
struct Release<'a> {
    workspace: &'a Workspace,
    /// Without symbols, which nobody but a debugger reads.
    zc: PathBuf,
    version: String,
    /// The time of every file, in seconds since 1970.
    epoch_seconds: u64,
    /// For what is made on the way; empty at first, and removed in the end.
    work: PathBuf,
}

/// Builds `zc` unless one is given, packs it, and writes down the checksums.
pub(crate) fn run(workspace: &Workspace, options: &DistOptions) -> Result<()> {
    packages::install_missing(packages::DIST)?;
    let bin = if let Some(bin) = &options.bin {
        bin.clone()
    } else {
        launch::build_zc(workspace)?;
        workspace.release_bin("zc")
    };
    let output = options.output.clone().unwrap_or_else(|| workspace.dist());
    fs::create_dir_all(&output).with_context(|| format!("make {}", output.display()))?;
    let output = fs::canonicalize(&output).with_context(|| format!("find {}", output.display()))?;
    let work = output.join("work");
    stage::make_empty(&work)?;
    let release = Release {
        workspace,
        version: version_of(&bin)?,
        zc: stripped(&bin, &work)?,
        epoch_seconds: epoch_seconds(workspace)?,
        work,
    };
    let items = contents::all(&release)?;
    let made = [tarball::make(&release, &items, &output)?, debian::make(&release, &items, &output)?];
    write_checksums(&output, &made)?;
    debian::lint(&output.join(&made[1]))?;
    fs::remove_dir_all(&release.work).with_context(|| format!("remove {}", release.work.display()))?;
    for file in made.iter().map(String::as_str).chain([CHECKSUMS]) {
        println!("{}", output.join(file).display());
    }
    Ok(())
}

const CHECKSUMS: &str = "SHA256SUMS";

fn write_checksums(output: &Path, files: &[String]) -> Result<()> {
    let sums = process::output(Command::new("sha256sum").arg("--").args(files).current_dir(output))?;
    process::replace_file(&output.join(CHECKSUMS), sums.as_bytes())
}

/// A copy of the program without its symbols.
fn stripped(bin: &Path, work: &Path) -> Result<PathBuf> {
    let copy = work.join("zc");
    process::run(Command::new("strip").arg("--strip-unneeded").arg("-o").arg(&copy).arg(bin))?;
    Ok(copy)
}

/// From `zc 1.2.3 (commit)`. A binary that was built without its kernel programs is not handed out.
fn version_of(bin: &Path) -> Result<String> {
    let printed = process::output(Command::new(bin).arg("--version"))?;
    let version = printed.split_whitespace().nth(1);
    let version = version.with_context(|| format!("{} says no version: {printed:?}", bin.display()))?;
    let ours = env!("CARGO_PKG_VERSION");
    if version != ours {
        bail!("{} is zc {version}, and this is the source of {ours}", bin.display());
    }
    // It goes on to say whether this machine can be traced, which is of no matter here.
    let checked = Command::new(bin).args(["check", "--format", "json"]).output();
    let checked = checked.with_context(|| format!("start {}", bin.display()))?;
    if String::from_utf8_lossy(&checked.stdout).contains("built without its eBPF programs") {
        bail!(
            "{} was built without its kernel programs; `cargo xtask build` makes one with them",
            bin.display()
        );
    }
    Ok(version.to_owned())
}

/// What reproducible builds agree upon, or the time of the last commit.
fn epoch_seconds(workspace: &Workspace) -> Result<u64> {
    let text = if let Ok(text) = env::var("SOURCE_DATE_EPOCH") {
        text
    } else {
        let mut git = Command::new("git");
        git.args(["log", "-1", "--format=%ct"]).current_dir(workspace.root());
        process::output(&mut git)
            .context("set SOURCE_DATE_EPOCH, as there is no commit to take the time of")?
    };
    text.trim().parse().with_context(|| format!("{text:?} is no number of seconds (SOURCE_DATE_EPOCH)"))
}

/// Runs a tool with the release's time, in the plainest of languages.
fn tool(release: &Release<'_>, name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("SOURCE_DATE_EPOCH", release.epoch_seconds.to_string()).env("LC_ALL", "C").env("TZ", "UTC");
    command
}

/// Says so, and nothing else, when an optional tool is not here.
fn is_here(name: &str, what_is_left_out: &str) -> bool {
    let here = process::find(name).is_some();
    if !here {
        say(format!("{name} is not installed: {what_is_left_out}"));
    }
    here
}
