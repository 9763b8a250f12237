//! The options of `zc daemon` and of who asks it.

use std::path::PathBuf;

use clap::Args;

use super::ScreenArgs;
use crate::{export, render::view::Sort};

const DAEMON_EXAMPLES: &str = "\
Examples:
  zc daemon --print-config > /etc/zc/daemon.toml
  zc daemon --check-config
  zc daemon --config ./zc.toml
  curl --unix-socket /run/zc/zc.sock http://zc/v1/health

Signals: SIGHUP reads the configuration again, SIGTERM ends it.

Exit code: 0 when it was ended, 1 when it failed, 2 when the configuration is not valid,
4 when nothing can be traced here.";

const REPORT_EXAMPLES: &str = "\
Examples:
  zc report                         what the daemon has seen since it started
  zc report -p 812 --format json -o -
  zc report --since 3h --until 1h   from the daemon's history
  zc report --history /var/lib/zc   the same without a daemon
  zc report saved.json              a report that was written with --format json

Exit code: 0 when there was a report, 1 when not.";

/// Options of `zc daemon`.
#[derive(Clone, Debug, Args)]
#[command(after_help = DAEMON_EXAMPLES)]
pub struct DaemonArgs {
    /// The configuration [default: /etc/zc/daemon.toml, if it is there]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Say whether the configuration is valid, and do nothing else
    #[arg(long, conflicts_with = "print_config")]
    pub check_config: bool,
    /// Print a configuration with every setting and its default
    #[arg(long)]
    pub print_config: bool,
}

/// Options of `zc report`.
#[derive(Clone, Debug, Args)]
#[command(after_help = REPORT_EXAMPLES)]
pub struct ReportCommandArgs {
    /// A report in JSON, `-` for stdin, instead of what the daemon has seen
    #[arg(value_name = "FILE", conflicts_with = "socket")]
    pub file: Option<PathBuf>,
    /// The daemon's socket
    #[arg(long, value_name = "SOCKET", default_value = "/run/zc/zc.sock")]
    pub socket: PathBuf,
    /// From the history: what was moved since then, such as 3h, 03:10 or "2026-03-01 03:10"
    #[arg(long, value_name = "TIME", conflicts_with = "file")]
    pub since: Option<String>,
    /// From the history: what was moved until then [default: now]
    #[arg(long, value_name = "TIME", conflicts_with = "file")]
    pub until: Option<String>,
    /// Read the history in this directory, without a daemon
    #[arg(long, value_name = "DIR", conflicts_with_all = ["file", "socket"])]
    pub history: Option<PathBuf>,
    /// This process alone; may be repeated
    #[arg(short, long, value_name = "PID")]
    pub pid: Vec<u32>,
    /// Processes of this command name alone; may be repeated
    #[arg(long, value_name = "NAME")]
    pub comm: Vec<String>,
    /// Write the report to FILE, `-` for stdout [default: stdout]
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
    #[command(flatten)]
    #[expect(missing_docs, reason = "shows as the options themselves")]
    pub screen: ScreenArgs,
}
