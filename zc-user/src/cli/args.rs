//! The definitions of all commands and options. What is not here does not exist.

use std::{ffi::OsString, path::PathBuf, sync::LazyLock};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{RangedI64ValueParser, Styles, styling::AnsiColor},
};
use clap_complete::Shell;
use zc_common::maps;

use super::lab;
use crate::{export, lab::rows::Row, render::view::Sort, units};

mod daemon;
mod top;
mod verify;

pub use daemon::{DaemonArgs, ReportCommandArgs};
pub use top::{TopArgs, TopFormat};
pub use verify::{SelectArgs, VerifyArgs, VerifyFormat};

/// Version, and the commit when it is known.
static VERSION: LazyLock<String> = LazyLock::new(|| match option_env!("ZC_COMMIT") {
    Some(commit) => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
    None => env!("CARGO_PKG_VERSION").to_owned(),
});

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
Examples:
  zc check                          what can be seen on this machine
  zc run -- dd if=A of=B bs=64k     which path dd's bytes took
  zc run --format json -o r.json -- make
  zc verify --port 80 -- ./test     whether what it sent and received was zero-copy
  zc verify -p 812 -d 10s           the same of a process that runs already
  zc top -p 812                     what it moves, every two seconds
  zc daemon                         always on; zc report shows what it has seen
  zc lab                            the textbook's table, measured on this machine

Exit codes:
  0 ok, 1 failed, 2 usage, 3 assertion does not hold,
  4 not permitted or not supported here, 5 cannot be decided";

const RUN_EXAMPLES: &str = "\
Examples:
  zc run -- cp A B
  zc run --sort copied --limit 5 -- nginx -g 'daemon off;'
  zc run --wait command -- sh -c 'worker & exit'
  zc run --format csv -o - -- tar cf archive.tar dir > rows.csv

Exit code: that of CMD; 128+n after signal n, 127 when it was not found, 126 when it
cannot be run, 125 when zc failed before it started.";

const LAB_EXAMPLES: &str = "\
Examples:
  zc lab
  zc lab --only sendfile --only 5 --size 64MiB
  zc lab --format json -o lab.json

Exit code: 0 when it ran, also where numbers differ from the textbook's; 1 when it failed,
4 when nothing can be traced here.";

/// Shows which kernel path each transfer of a process took, how many bytes the CPU copied on the way,
/// and what it cost in mode switches, context switches and page faults
#[derive(Clone, Debug, Parser)]
#[command(name = "zc", version = VERSION.as_str(), styles = STYLES, after_help = EXAMPLES)]
#[command(max_term_width = 100, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Say what this machine lets zc see, and why not more
    Check(CheckArgs),
    /// Run a command and its children, traced from the first instruction; report at the end
    Run(Box<RunArgs>),
    /// Run a command or watch processes, and say by exit code whether their transfers were zero-copy
    Verify(Box<VerifyArgs>),
    /// Account for chosen processes for as long as it runs, and answer who asks
    Daemon(DaemonArgs),
    /// Show again and again what processes move, as rates, by process and path
    Top(Box<TopArgs>),
    /// Show what a running daemon has seen, or a report that was saved as JSON
    Report(Box<ReportCommandArgs>),
    /// Run each path of the textbook on this machine, and show its numbers beside the measured ones
    Lab(LabArgs),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print a manual page (roff)
    Man {
        /// Of this command instead of zc as a whole
        #[arg(value_parser = ["check", "run", "verify", "daemon", "top", "report", "lab", "completions", "man"])]
        command: Option<String>,
    },
}

/// Options of `zc check`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Exit code: 0 when the main job can run, 4 when not.")]
pub struct CheckArgs {
    /// How the answer is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: CheckFormat,
    #[command(flatten)]
    #[expect(missing_docs, reason = "shows as the options themselves")]
    pub screen: ScreenArgs,
}

/// How `zc check` answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// Text for people.
    #[default]
    Table,
    /// One JSON object.
    Json,
}

/// Options about messages and colours.
#[derive(Clone, Debug, Args)]
pub struct ScreenArgs {
    /// When to use colours; with auto, `NO_COLOR` is honoured
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: ColorWhen,
    /// No messages; data and errors only
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Exact numbers, and more of what is known
    #[arg(short, long)]
    pub verbose: bool,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorWhen {
    /// Whether to use colours on an output that is a terminal or not, with `NO_COLOR` set (to anything but
    /// nothing) or not.
    pub const fn is_on(self, terminal: bool, no_color: bool) -> bool {
        match self {
            Self::Auto => terminal && !no_color,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Options of `zc run`.
#[derive(Clone, Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub struct RunArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "shows as the options themselves")]
    pub report: ReportArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "shows as the options themselves")]
    pub trace: TraceArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "shows as the options themselves")]
    pub screen: ScreenArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "shows as the options themselves")]
    pub capacity: CapacityArgs,
    /// What to wait for: the command, or its children too
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    pub wait: Wait,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// Options of `zc lab`.
#[derive(Clone, Debug, Args)]
#[command(after_help = LAB_EXAMPLES)]
pub struct LabArgs {
    /// Run this row alone, by number or name; may be repeated
    #[arg(long, value_name = "ROW", value_parser = lab::row)]
    pub only: Vec<&'static Row>,
    /// Show the rows and their cases, and run none
    #[arg(long)]
    pub list: bool,
    /// Size of the file that is moved
    #[arg(long, value_name = "SIZE", value_parser = units::lab_bytes, default_value = "16MiB")]
    pub size: u64,
    /// Where the lab's files are made [default: /var/tmp]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// How the answer is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: export::Format,
    /// Write the answer to FILE, `-` for stdout [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// When to use colours; with auto, `NO_COLOR` is honoured
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: ColorWhen,
    /// No progress; data and errors only
    #[arg(short, long)]
    pub quiet: bool,
}

/// How a report is written.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// Write the report to FILE, `-` for stdout [default: stderr]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// How the report is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: export::Format,
    /// Order of processes
    #[arg(long, value_enum, value_name = "BY", default_value_t)]
    pub sort: Sort,
    /// Show N processes, and N flows of each; csv is never cut [default: table 20 and 10, json all]
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

impl ReportArgs {
    /// The options of the report, for an output with colours or without.
    pub const fn options(&self, verbose: bool, color: bool, ascii: bool) -> export::Options {
        export::Options { sort: self.sort, limit: self.limit, verbose, color, ascii }
    }
}

/// What is traced and counted.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "switches of the command line")]
pub struct TraceArgs {
    /// Do not trace the children of the command, or of the processes
    #[arg(long)]
    pub no_follow: bool,
    /// Do not count system calls of every kind, which costs all processes of the machine a little
    #[arg(long)]
    pub no_count_calls: bool,
    /// Do not count page faults
    #[arg(long)]
    pub no_faults: bool,
    /// Measure what zc's own kernel programs cost, which makes them cost more
    #[arg(long)]
    pub self_stats: bool,
    /// See what devices are given of one in N connections alone, chosen at random; of the others it is unknown
    #[arg(long, value_name = "N", value_parser = number(), default_value_t = 1)]
    pub sample_connections: u32,
}

/// What `zc run` waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Wait {
    /// The command alone; children that live longer are reported as they are then.
    Command,
    /// The command and all its traced children.
    #[default]
    All,
}

/// Sizes of the kernel's maps. The report names the option when one was too small.
#[derive(Clone, Debug, Args)]
pub struct CapacityArgs {
    /// Rows: threads times paths times ends
    #[arg(long, value_name = "N", hide = true, value_parser = number(), default_value_t = maps::ROWS_DEFAULT)]
    pub rows_max: u32,
    /// Files, sockets, pipes and devices
    #[arg(long, value_name = "N", hide = true, value_parser = number(), default_value_t = maps::OBJECTS_DEFAULT)]
    pub objects_max: u32,
    /// Threads that live at the same time
    #[arg(long, value_name = "N", hide = true, value_parser = number(), default_value_t = maps::THREADS_DEFAULT)]
    pub threads_max: u32,
    /// Ring buffer
    #[arg(long, value_name = "SIZE", hide = true, value_parser = units::ring_bytes, default_value_t = maps::RING_BYTES_DEFAULT)]
    pub ring_bytes: u32,
    /// Sets of 8 reads that wait for their write
    #[arg(long, value_name = "N", hide = true, value_parser = units::pair_sets, default_value_t = maps::PAIR_SETS_DEFAULT)]
    pub pair_sets: u32,
    /// Named flows of a process
    #[arg(long, value_name = "N", hide = true, default_value_t = maps::FLOWS_DEFAULT)]
    pub flows_max: u32,
}

/// At least one, and not so many that the kernel could not allocate them.
fn number() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1 << 24)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, error::ErrorKind};

    use super::*;

    fn run(args: &[&str]) -> Result<RunArgs, clap::Error> {
        let command = Cli::try_parse_from(["zc", "run"].iter().chain(args))?.command;
        match command {
            Command::Run(args) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_command_keeps_its_own_options() {
        let args = run(&["--no-faults", "--", "dd", "--format", "-v", "--", "x"]).unwrap();
        assert_eq!(args.command, ["dd", "--format", "-v", "--", "x"]);
        assert!(args.trace.no_faults && !args.screen.verbose);
        let args = run(&["dd", "-v", "--limit=3"]).unwrap();
        assert_eq!((args.command.len(), args.report.limit), (3, None));
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let args = run(&["--", "true"]).unwrap();
        assert_eq!(
            (args.wait, args.report.format, args.report.output),
            (Wait::All, export::Format::Table, None)
        );
        assert_eq!(args.capacity.rows_max, maps::ROWS_DEFAULT);
        assert_eq!(args.capacity.ring_bytes, maps::RING_BYTES_DEFAULT);
    }

    #[test]
    fn wrong_usage_is_exit_code_2() {
        let wrong: [&[&str]; 6] = [
            &[],
            &["--format", "xml", "--", "true"],
            &["--ring-bytes", "12KiB", "--", "true"],
            &["--rows-max", "0", "--", "true"],
            &["-q", "-v", "--", "true"],
            &["--nonsense", "--", "true"],
        ];
        for args in wrong {
            assert_eq!(run(args).unwrap_err().exit_code(), 2, "{args:?}");
        }
    }

    #[test]
    fn help_fits_the_screen_and_hides_the_capacities() {
        let error = run(&["--help"]).unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (ErrorKind::DisplayHelp, 0));
        let help = error.to_string();
        assert!(!help.contains("--pair-sets") && help.contains("--no-count-calls"));
        assert!(help.lines().all(|line| line.len() <= 100), "{help}");
    }

    #[test]
    fn the_version_names_the_program() {
        let error = Cli::try_parse_from(["zc", "-V"]).unwrap_err();
        assert!(error.to_string().starts_with(&format!("zc {}", env!("CARGO_PKG_VERSION"))));
    }

    #[test]
    fn colours_are_for_terminals_unless_asked_for() {
        assert!(ColorWhen::Auto.is_on(true, false));
        assert!(!ColorWhen::Auto.is_on(true, true));
        assert!(!ColorWhen::Auto.is_on(false, false));
        assert!(ColorWhen::Always.is_on(false, true));
        assert!(!ColorWhen::Never.is_on(true, false));
    }
}
