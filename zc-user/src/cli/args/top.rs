//! The options of `zc top`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{CapacityArgs, ScreenArgs, number};
use crate::{daemon::select::Selection, render::view::Sort, top::table::By, units};

const EXAMPLES: &str = "\
Examples:
  zc top                            what the daemon accounts for, every two seconds
  zc top -p 812 1 10                a process, every second, ten times
  zc top --all --by service 5       the whole machine by service
  zc top --comm nginx --format json 1 60 > nginx.ndjson

The first report comes when the first interval is over; `zc report` shows what a daemon has seen
since it started. A daemon that traces the chosen processes is asked; otherwise zc traces them
itself, and their bytes count from then on. Without a terminal, or with --plain, reports follow one
another as text.

Keys: q ends, space holds and goes on, s changes the order, b what a line is.

Exit code: 0 when it was ended, has shown COUNT reports, or when all processes of -p have ended;
1 when it failed, 2 when there is neither a daemon nor a choice of processes, 4 when nothing can
be traced here.";

/// Options of `zc top`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "switches of the command line")]
pub struct TopArgs {
    /// This process and the children that it makes; may be repeated
    #[arg(short, long, value_name = "PID", value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// Processes of this command name, and the children that they make; may be repeated
    #[arg(long, value_name = "NAME")]
    pub comm: Vec<String>,
    /// Processes in this cgroup and below it, as in /proc/PID/cgroup behind `0::`; may be repeated
    #[arg(long, value_name = "PATH")]
    pub cgroup: Vec<String>,
    /// Every process of the machine
    #[arg(long, conflicts_with_all = ["pid", "comm", "cgroup"])]
    pub all: bool,
    /// What has a line of its own
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    pub by: By,
    /// Order of processes
    #[arg(long, value_enum, value_name = "BY", default_value_t)]
    pub sort: Sort,
    /// Show N processes; csv is never cut [default: table 20, on a terminal what fits, json all]
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// How reports are written
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: TopFormat,
    /// Write one report below the other on a terminal, too
    #[arg(long)]
    pub plain: bool,
    /// The daemon's socket
    #[arg(long, value_name = "SOCKET", default_value = "/run/zc/zc.sock")]
    pub socket: PathBuf,
    /// Do not ask a daemon
    #[arg(long)]
    pub no_daemon: bool,
    /// Leave out the children that the processes make
    #[arg(long)]
    pub no_follow: bool,
    /// Count system calls of every kind (without a daemon), which costs all processes of the machine a little
    #[arg(long)]
    pub count_calls: bool,
    /// Do not count page faults (without a daemon)
    #[arg(long)]
    pub no_faults: bool,
    /// As for `zc run` (without a daemon)
    #[arg(long, value_name = "N", value_parser = number(), default_value_t = 1, hide = true)]
    pub sample_connections: u32,
    #[command(flatten)]
    #[expect(missing_docs, reason = "shows as the options themselves")]
    pub screen: ScreenArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "shows as the options themselves")]
    pub capacity: CapacityArgs,
    /// Time between two reports, as 1, 500ms or 1m
    #[arg(value_name = "INTERVAL", value_parser = units::interval, default_value = "2")]
    pub interval: Duration,
    /// So many reports, and then end [default: until it is ended]
    #[arg(value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

/// How `zc top` answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TopFormat {
    /// Text for people.
    #[default]
    Table,
    /// One JSON object for each interval, on a line of its own.
    Json,
    /// A line for each path of each process and interval.
    Csv,
}

impl TopArgs {
    /// Which processes; nothing when nothing was said of it.
    pub fn selection(&self) -> Selection {
        Selection {
            all: self.all,
            pids: self.pid.iter().copied().collect(),
            comms: self.comm.iter().cloned().collect(),
            cgroups: self.cgroup.iter().cloned().collect(),
            ..Selection::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Cli, Command};
    use super::*;

    fn top(args: &[&str]) -> Result<TopArgs, clap::Error> {
        match Cli::try_parse_from(["zc", "top"].iter().chain(args))?.command {
            Command::Top(args) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn interval_and_count_are_as_for_vmstat() {
        let args = top(&[]).unwrap();
        assert_eq!((args.interval, args.count), (Duration::from_secs(2), None));
        assert!(args.selection().is_empty());
        let args = top(&["-p", "7,8", "-p", "9", "500ms", "3"]).unwrap();
        assert_eq!((args.interval, args.count), (Duration::from_millis(500), Some(3)));
        assert_eq!(args.selection().pids, [7, 8, 9].into());
    }

    #[test]
    fn wrong_usage_is_exit_code_2() {
        let wrong: [&[&str]; 6] =
            [&["0"], &["1", "0"], &["1", "2", "3"], &["--all", "-p", "1"], &["--sort", "up"], &["2h"]];
        for args in wrong {
            assert_eq!(top(args).unwrap_err().exit_code(), 2, "{args:?}");
        }
    }

    #[test]
    fn help_fits_the_screen() {
        let help = top(&["--help"]).unwrap_err().to_string();
        assert!(help.lines().all(|line| line.len() <= 100), "{help}");
    }
}
