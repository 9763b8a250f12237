//! `zc run`.

use anyhow::Context as _;

use super::{
    args::RunArgs,
    output::Output,
    session::{self, Ended, Plan, Running},
};
use crate::{export, model::Report};

/// The command has run, but there is no report of it.
const FAILED: u8 = 1;

/// Runs a command, traced; returns its exit code.
pub fn run(args: &RunArgs) -> u8 {
    let (running, output) = match start(args) {
        Ok(started) => started,
        Err(error) => {
            eprintln!("zc: {error:#}");
            return session::exit_code_of(&error);
        }
    };
    // The exit code is the command's, unless there is no report.
    let reported = running.finish().and_then(|Ended { code, report }| {
        write(&report, args, output)?;
        Ok(code)
    });
    reported.unwrap_or_else(|error| {
        eprintln!("zc: {error:#}");
        FAILED
    })
}

fn start(args: &RunArgs) -> anyhow::Result<(Running<'_>, Output)> {
    let output = Output::open(args.report.output.as_deref())?;
    let plan = Plan {
        command: &args.command,
        trace: &args.trace,
        capacity: &args.capacity,
        wait: args.wait,
        quiet: args.screen.quiet,
    };
    Ok((Running::start(plan)?, output))
}

fn write(report: &Report, args: &RunArgs, mut output: Output) -> anyhow::Result<()> {
    let options = args.report.options(args.screen.verbose, output.color(args.screen.color), Output::ascii());
    export::write(report, args.report.format, &options, &mut output.writer)
        .and_then(|()| output.writer.flush())
        .with_context(|| format!("cannot write the report to {}", output.name))
}
