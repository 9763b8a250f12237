//! `zc`: see the library of the same name.

use std::{io, process::ExitCode};

use clap::Parser as _;
use zc::{
    cli::{
        args::{Cli, Command},
        check, daemon, generate, lab, report, run, top, verify,
    },
    lab::worker,
};

fn main() -> ExitCode {
    if let Some(code) = worker::entry(std::env::args_os()) {
        return code;
    }
    let written = match Cli::parse().command {
        Command::Check(args) => return check::check(&args).into(),
        Command::Run(args) => return run::run(&args).into(),
        Command::Verify(args) => return verify::verify(&args).into(),
        Command::Daemon(args) => return daemon::daemon(&args).into(),
        Command::Top(args) => return top::top(&args).into(),
        Command::Report(args) => return report::report(&args).into(),
        Command::Lab(args) => return lab::lab(&args).into(),
        Command::Completions { shell } => generate::completions(shell, &mut io::stdout()),
        Command::Man { command } => generate::man(command.as_deref(), &mut io::stdout()),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zc: cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}
