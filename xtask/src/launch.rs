//! Building zc and becoming it.

use std::{
    env,
    ffi::OsString,
    io::{BufRead as _, BufReader, IsTerminal as _},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::{cli, ebpf, packages, process, test, workspace::Workspace};

/// Builds the kernel programs and `zc`.
pub(crate) fn build_zc(workspace: &Workspace) -> Result<()> {
    ebpf::build(workspace)?;
    build_quietly(workspace, &["--package", "zc-user"])
}

/// `cargo xtask run`: becomes `zc run`.
pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    zc(workspace, &cli::zc_run(arguments))
}

/// `cargo xtask zc`: becomes `zc`.
pub(crate) fn zc(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    build_zc(workspace)?;
    let zc = workspace.release_bin("zc");
    let mut command = if process::is_root() {
        Command::new(zc)
    } else if let Some(sudo) = process::find("sudo") {
        let mut command = Command::new(sudo);
        command.args(["-E", "--"]).arg(zc);
        command
    } else {
        // zc says better than we could what an unprivileged user misses.
        Command::new(zc)
    };
    process::without_cargo_env(command.args(arguments));
    become_program(&mut command)
}

/// `cargo xtask bench`: becomes the benchmark program.
pub(crate) fn bench(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    packages::install_missing(packages::BENCH)?;
    build_zc(workspace)?;
    build_quietly(workspace, &["--package", "zc-bench"])?;
    test::mount_tracefs()?;
    let mut command = Command::new(workspace.release_bin("zc-bench"));
    process::without_cargo_env(command.args(arguments));
    set_program_paths(&mut command, workspace);
    become_program(&mut command)
}

/// Tells tests and benchmarks where the programs are that were built for them.
pub(crate) fn set_program_paths(command: &mut Command, workspace: &Workspace) {
    for (variable, program) in [("ZC_BIN", "zc"), ("ZC_FIXTURE", "zc-fixture"), ("ZC_BENCH", "zc-bench")] {
        command.env(variable, workspace.release_bin(program));
    }
}

/// Builds with the release profile, and says nothing when there was nothing to do.
///
/// `cargo --quiet` would also hide the progress of a first build, which takes a minute.
fn build_quietly(workspace: &Workspace, what: &[&str]) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release"]).args(what).stderr(Stdio::piped());
    if env::var_os("CARGO_TERM_COLOR").is_none() && std::io::stderr().is_terminal() {
        cargo.env("CARGO_TERM_COLOR", "always");
    }
    let shown = process::show(&cargo);
    let mut child = cargo.spawn().with_context(|| format!("start `{shown}`"))?;
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).split(b'\n') {
            let line = line.with_context(|| format!("read the output of `{shown}`"))?;
            let line = String::from_utf8_lossy(&line);
            if !line.contains("Finished") {
                eprintln!("{line}");
            }
        }
    }
    process::check(&shown, child.wait().with_context(|| format!("wait for `{shown}`"))?)
}

/// Replaces this process, so that signals and the exit code are the program's own.
fn become_program(command: &mut Command) -> Result<()> {
    let error = command.exec();
    Err(error).with_context(|| format!("start {}", command.get_program().display()))
}
