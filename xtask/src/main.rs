//! Builds, tests and packages zc: the one entry for people and for CI, started as `cargo xtask`.

mod apt;
mod cli;
mod dist;
mod ebpf;
#[path = "../../zc-user/build/fingerprint.rs"]
mod fingerprint;
mod launch;
mod lint;
mod packages;
mod process;
mod stack;
mod tally;
mod test;
mod toolchain;
mod verifier;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;

use crate::{
    cli::{Cli, Command},
    process::say,
    workspace::Workspace,
};

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            say(format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match command {
        Command::Setup => say(format!("ready: {}", toolchain::setup(&workspace)?)),
        Command::BuildEbpf { release: _ } => {
            ebpf::build(&workspace)?;
            println!("{}", workspace.object().display());
        }
        Command::Build => {
            launch::build_zc(&workspace)?;
            println!("{}", workspace.release_bin("zc").display());
        }
        Command::Run { .. } => launch::run(&workspace, &cli::raw_arguments())?,
        Command::Zc { .. } => launch::zc(&workspace, &cli::raw_arguments())?,
        Command::Dist(options) => dist::run(&workspace, &options)?,
        Command::Bench { .. } => launch::bench(&workspace, &cli::raw_arguments())?,
        Command::Lint => lint::run(&workspace)?,
        Command::Verifier(options) => return verifier::run(&workspace, &options),
        Command::VmTest(options) => return vm::run(&workspace, &options),
        Command::Test(options) => return Ok(test::run(&workspace, &options)),
    }
    Ok(ExitCode::SUCCESS)
}
