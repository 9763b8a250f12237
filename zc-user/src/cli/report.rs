//! `zc report`.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use jiff::{Timestamp, Zoned};
use serde::Deserialize;

use super::{args::ReportCommandArgs, output::Output};
use crate::{
    daemon::client,
    export::{self, Options},
    history::{self, Past},
    model::Report,
    render::human::printable,
    units,
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
    let mut report = match (&args.file, &args.history) {
        (Some(file), _) => saved(file)?,
        (None, Some(dir)) => past(dir, args)?,
        (None, None) => of_daemon(args)?,
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

/// What the daemon has seen, or has in its history.
fn of_daemon(args: &ReportCommandArgs) -> anyhow::Result<Report> {
    let is_past = args.since.is_some() || args.until.is_some();
    let path = if is_past {
        let (since, until) = span(args)?;
        format!("/v1/report?since={since}&until={until}")
    } else {
        "/v1/report?max_age=0ms".to_owned()
    };
    let bytes = client::get(&args.socket, &path)?;
    let context = "the daemon's report is not one that this version of zc knows";
    if is_past && !args.screen.quiet {
        let said: PastAnswer = serde_json::from_slice(&bytes).context(context)?;
        tell(said.history.covered_seconds, said.history.gaps.len(), &said.history.notices);
    }
    serde_json::from_slice(&bytes).context(context)
}

/// What is said of a time that has passed, beside its report.
#[derive(Deserialize)]
struct PastAnswer {
    history: Extent,
}

#[derive(Deserialize)]
struct Extent {
    covered_seconds: f64,
    gaps: Vec<serde::de::IgnoredAny>,
    notices: Vec<String>,
}

/// What a history says, without a daemon.
fn past(dir: &Path, args: &ReportCommandArgs) -> anyhow::Result<Report> {
    let (since, until) = span(args)?;
    let mut reading = history::read(dir, since, until)?;
    let past = history::report(&mut reading, since, until);
    let notices: Vec<_> = reading.notices().iter().map(ToString::to_string).collect();
    let Past { report, covered_seconds, gaps } =
        past.with_context(|| format!("the history in {} has nothing of that time", dir.display()))?;
    if !args.screen.quiet {
        tell(covered_seconds, gaps.len(), &notices);
    }
    Ok(report)
}

/// The time that is asked about.
fn span(args: &ReportCommandArgs) -> anyhow::Result<(Timestamp, Timestamp)> {
    let now = Zoned::now();
    let time = |name, text: Option<&String>, otherwise| match text {
        Some(text) => units::instant(text, &now).with_context(|| format!("--{name} {text:?}")),
        None => Ok(otherwise),
    };
    let since = time("since", args.since.as_ref(), Timestamp::MIN)?;
    let until = time("until", args.until.as_ref(), now.timestamp())?;
    anyhow::ensure!(since < until, "--since is not before --until");
    Ok((since, until))
}

/// How much of the time is in the report.
fn tell(covered_seconds: f64, gaps: usize, notices: &[String]) {
    for notice in notices {
        eprintln!("zc: {}", printable(notice));
    }
    let covered = Duration::try_from_secs_f64(covered_seconds).unwrap_or_default();
    let without = match gaps {
        0 => String::new(),
        1 => "; one part of that time is in no history".to_owned(),
        _ => format!("; {gaps} parts of that time are in no history"),
    };
    eprintln!("zc: the report is of {} s of history{without}", covered.as_secs());
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
