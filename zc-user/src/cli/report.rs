//! `zc report`.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use anyhow::Context as _;

use super::{args::ReportCommandArgs, output::Output};
use crate::{
    daemon::client,
    export::{self, Options},
    model::Report,
};

const FAILED: u8 = 1;

/// Shows a report; returns the exit code.
pub fn report(args: &ReportCommandArgs) -> u8 {
    match show(args) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("zc: {error:#}");
            FAILED
        }
    }
}

fn show(args: &ReportCommandArgs) -> anyhow::Result<()> {
    let mut report = match &args.file {
        Some(file) => saved(file)?,
        None => serde_json::from_slice(&client::get(&args.socket, "/v1/report?max_age=0ms")?)
            .context("the daemon's report is not one that this version of zc knows")?,
    };
    select(&mut report, args);
    let mut output = Output::open(Some(args.output.as_deref().unwrap_or_else(|| "-".as_ref())))?;
    let options = Options {
        sort: args.sort,
        limit: args.limit,
        verbose: args.screen.verbose,
        color: output.color(args.screen.color),
        ascii: Output::ascii(),
    };
    let mut bytes = Vec::new();
    export::write(&report, args.format, &options, &mut bytes)?;
    output.write(&bytes)
}

fn saved(file: &Path) -> anyhow::Result<Report> {
    let name = file.display();
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(file)
    };
    let bytes = bytes.with_context(|| format!("cannot read {name}"))?;
    serde_json::from_slice(&bytes)
        .with_context(|| format!("{name} is no report; `zc run --format json -o FILE -- CMD` writes one"))
}

/// Keeps the processes that were asked for, and their flows.
fn select(report: &mut Report, args: &ReportCommandArgs) {
    if args.pid.is_empty() && args.comm.is_empty() {
        return;
    }
    report.keep(|process| {
        args.pid.contains(&process.pid) || process.comm.as_ref().is_some_and(|comm| args.comm.contains(comm))
    });
}
