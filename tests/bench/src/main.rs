//! What tracing costs, measured beside the floor and beside other tools.
//!
//! `cargo xtask bench` builds and starts this. The same program is also the workloads that are measured, as
//! processes that do nothing else.

mod bench;
mod crowd;
mod machine;
mod process;
mod report;
mod results;
mod rounds;
mod service;
mod setup;
mod stats;
mod subject;
mod targets;
mod work;

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};

use crate::{rounds::Plan, setup::Setup};

/// Measures what tracing with zc costs, beside an empty program, bpftrace, perf and strace
#[derive(Debug, Parser)]
#[command(name = "zc-bench", args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
#[command(max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
struct Options {
    /// Less of everything, in under three minutes instead of fifteen
    #[arg(long)]
    quick: bool,
    /// At most so many rounds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Only these, beside nothing attached: `zc,floor-exit`
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = Setup::of_id)]
    only: Vec<Setup>,
    /// Where every value goes, as JSON [default: target/bench/bench.json]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the tables go, as Markdown [default: target/bench/bench.md]
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Be one of the processes that are measured
    #[command(subcommand, hide = true)]
    Work(Work),
}

#[derive(Debug, Subcommand)]
enum Work {
    /// Do something many times
    Do(work::WorkArgs),
    /// Wait for the end of the input
    Wait {
        /// With so many children, which do nothing
        #[arg(long, default_value_t = 0)]
        children: u32,
    },
    /// Throw away what arrives on a connection
    Discard,
}

fn main() -> ExitCode {
    let Cli { command, options } = Cli::parse();
    let done = match command {
        Some(Command::Work(Work::Do(args))) => work::run(&args).map(|()| ExitCode::SUCCESS),
        Some(Command::Work(Work::Wait { children })) => work::wait(children).map(|()| ExitCode::SUCCESS),
        Some(Command::Work(Work::Discard)) => work::discard().map(|()| ExitCode::SUCCESS),
        None => bench(&options),
    };
    done.unwrap_or_else(|error| {
        eprintln!("zc-bench: {error:#}");
        ExitCode::FAILURE
    })
}

/// Measures, and writes the report in its three forms. What was slow is no failure; a tool that did not run
/// is, and a tool that is not there is one where CI=true says that it should be.
fn bench(options: &Options) -> Result<ExitCode> {
    let Options { quick, rounds, only, json, markdown } = options;
    // Before the work, so that a wrong name costs nothing.
    let mut json = Output::open(json.as_deref(), "bench.json")?;
    let mut markdown = Output::open(markdown.as_deref(), "bench.md")?;
    process::catch_signals();
    let (at_most, seconds) = if *quick { (15, 165) } else { (61, 14 * 60) };
    let plan = Plan {
        quick: *quick,
        rounds: rounds.unwrap_or(at_most),
        time: Duration::from_secs(seconds),
        only: only.clone(),
    };
    let results = rounds::run(&plan)?;
    let text = report::markdown(&results);
    print!("{text}");
    markdown.write(&text)?;
    json.write(&format!("{:#}\n", report::json(&results)))?;
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    let failed = results.failures.iter().any(|failure| is_ci || !failure.missing);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A file to be written at the end.
struct Output {
    path: PathBuf,
    file: File,
}

impl Output {
    fn open(path: Option<&Path>, default: &str) -> Result<Self> {
        let path = if let Some(path) = path {
            path.to_owned()
        } else {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
            fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
            dir.join(default)
        };
        // What an earlier run left stays until there is something better.
        let file = File::options().create(true).append(true).open(&path);
        Ok(Self { file: file.with_context(|| format!("write {}", path.display()))?, path })
    }

    fn write(&mut self, text: &str) -> Result<()> {
        let Self { path, file } = self;
        let written = file.set_len(0).and_then(|()| file.write_all(text.as_bytes()));
        written.with_context(|| format!("write {}", path.display()))
    }
}
