//! The options of `zc verify`.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, ValueEnum};

use super::{CapacityArgs, ColorWhen, TraceArgs, Wait};
use crate::{
    model::verify::{Bound, Expectation, Peer, Selection, path},
    units,
};

const EXAMPLES: &str = "\
Examples:
  zc verify --path copy_file_range --path read+write -- cp --reflink=always A B
  zc verify --file /srv/www --min-bytes 64KiB --max-copied 1% -- ./serve-and-fetch
  zc verify --port 443 --format junit -o verify.xml -- ./integration-test
  zc verify --file /srv/www -p 812 -p 813 -d 10s

Exit code: 0 when it holds, 3 when it does not, 5 when it cannot be decided; CMD's own code is
said, and is not the exit code. 127 when CMD was not found, 126 when it cannot be run, 125 when
zc failed before it started, 1 when no answer could be written. With -p, 4 when that is not
permitted or not supported here, 1 when a process cannot be watched.";

const USAGE: &str = "zc verify [OPTIONS] <CMD>...
       zc verify [OPTIONS] -p <PID>... [-d <TIME>]";

/// Options of `zc verify`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES, override_usage = USAGE)]
pub struct VerifyArgs {
    /// What is expected of the selected bytes
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    pub expect: Expect,
    /// Bytes, or percent of the selected bytes, that may be copied by the processor [default: 0]
    #[arg(long, value_name = "BYTES|PERCENT", value_parser = units::bound)]
    pub max_copied: Option<Bound>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "shows as the options themselves")]
    pub select: SelectArgs,
    /// How the answer is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: VerifyFormat,
    /// Write the answer to FILE, `-` for stdout [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "shows as the options themselves")]
    pub trace: TraceArgs,
    /// When to use colours; with auto, `NO_COLOR` is honoured
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: ColorWhen,
    /// No messages; the answer and errors only
    #[arg(short, long)]
    pub quiet: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "shows as the options themselves")]
    pub capacity: CapacityArgs,
    /// What to wait for: the command or the processes, or their children too
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    pub wait: Wait,
    /// Watch this process, which runs already, and the children that it makes; may be repeated
    #[arg(short, long, value_name = "PID", value_delimiter = ',', conflicts_with = "command")]
    pub pid: Vec<u32>,
    /// Watch for so long, as 90, 500ms or 3m [default: until the processes end, or Ctrl-C]
    #[arg(short, long, value_name = "TIME", value_parser = units::duration, requires = "pid", conflicts_with = "command")]
    pub duration: Option<std::time::Duration>,
    /// The command and its arguments
    #[arg(required_unless_present = "pid", trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// What is looked at.
#[derive(Clone, Debug, Args)]
pub struct SelectArgs {
    /// Only this kernel path, as reports name it (sendfile, read+write, ...); may be repeated
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub path: Vec<zc_common::path::Path>,
    /// Only sockets with this peer: an address, or an address and a port; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub peer: Vec<Peer>,
    /// Only sockets with this port, their own or the peer's; may be repeated
    #[arg(long, value_name = "PORT")]
    pub port: Vec<u16>,
    /// Only this file, or files below this directory; may be repeated
    #[arg(long, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// Only rows with so many bytes; with --peer, --port or --file, only such flows
    #[arg(long, value_name = "SIZE", value_parser = units::size, default_value = "0", hide_default_value = true)]
    pub min_bytes: u64,
}

/// What is expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Expect {
    /// The processor copies nothing, or no more than --max-copied.
    #[default]
    ZeroCopy,
    /// The processor copies every byte.
    Copied,
}

/// How `zc verify` answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum VerifyFormat {
    /// A line with the answer, and what broke it.
    #[default]
    Text,
    /// One JSON object.
    Json,
    /// `JUnit` XML.
    #[value(help = "JUnit XML, for CI systems")]
    Junit,
}

impl VerifyArgs {
    /// The processes to watch, each once.
    pub fn pids(&self) -> Vec<u32> {
        let mut pids = self.pid.clone();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// What is expected.
    pub fn expectation(&self) -> Expectation {
        match self.expect {
            Expect::ZeroCopy => Expectation::ZeroCopy(self.max_copied.unwrap_or(Bound::Bytes(0))),
            Expect::Copied => Expectation::Copied,
        }
    }
}

impl SelectArgs {
    /// What is looked at. Reports have whole names without symbolic links, as the kernel knows them.
    pub fn selection(&self) -> Selection {
        let Self { path, peer, port, file, min_bytes } = self;
        let mut files: Vec<String> = file.iter().flat_map(|file| names(file)).collect();
        files.dedup();
        Selection {
            paths: path.clone(),
            peers: peer.clone(),
            ports: port.clone(),
            files,
            min_bytes: *min_bytes,
        }
    }
}

/// A file as it was typed, and where it really is: the file itself, or its directory when it is yet to be made.
fn names(file: &std::path::Path) -> Vec<String> {
    let typed = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let real = std::fs::canonicalize(&typed).ok().or_else(|| {
        let directory = std::fs::canonicalize(typed.parent()?).ok()?;
        Some(directory.join(typed.file_name()?))
    });
    let mut names = vec![typed.to_string_lossy().into_owned()];
    names.extend(real.map(|real| real.to_string_lossy().into_owned()).filter(|real| *real != names[0]));
    names
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Cli, Command};
    use super::*;

    fn verify(args: &[&str]) -> Result<VerifyArgs, clap::Error> {
        match Cli::try_parse_from(["zc", "verify"].iter().chain(args))?.command {
            Command::Verify(args) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_may_be_copied_unless_it_is_allowed() {
        let args = verify(&["--", "cp", "-p", "A"]).unwrap();
        assert_eq!(args.expectation(), Expectation::ZeroCopy(Bound::Bytes(0)));
        assert_eq!((args.command.len(), args.pid, args.format), (3, vec![], VerifyFormat::Text));
        let bound = |text| verify(&["--max-copied", text, "true"]).unwrap().expectation();
        assert_eq!(bound("64KiB"), Expectation::ZeroCopy(Bound::Bytes(65_536)));
        assert_eq!(bound("0.5%"), Expectation::ZeroCopy(Bound::Share(500)));
        assert_eq!(verify(&["--expect", "copied", "true"]).unwrap().expectation(), Expectation::Copied);
    }

    #[test]
    fn a_selection_is_what_was_typed() {
        let args = ["--path", "sendfile", "--path", "splice", "--peer", "[::1]:80", "--port", "80"];
        let selection =
            verify(&[&args[..], &["--file", "/nowhere/at/all", "true"]].concat()).unwrap().select.selection();
        assert_eq!(
            selection.to_string(),
            "path sendfile or splice, peer [::1]:80, port 80, file /nowhere/at/all"
        );
    }

    #[test]
    fn files_are_known_by_their_real_names_too() {
        let dir = tempfile::tempdir().unwrap();
        let dir_name = dir.path().canonicalize().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("target", &link).unwrap();
        std::fs::write(dir.path().join("target"), "").unwrap();
        assert!(names(&link).contains(&dir_name.join("target").to_string_lossy().into_owned()));
        let later = dir.path().join("later");
        assert!(names(&later).contains(&dir_name.join("later").to_string_lossy().into_owned()));
    }

    #[test]
    fn wrong_usage_is_exit_code_2() {
        let wrong: [&[&str]; 10] = [
            &[],
            &["--expect", "magic", "true"],
            &["--path", "teleport", "true"],
            &["--peer", "example.org", "true"],
            &["--port", "65536", "true"],
            &["--max-copied", "5 %", "true"],
            &["--format", "csv", "true"],
            &["-p", "1", "--", "true"],
            &["-p", "self"],
            &["-d", "3s", "true"],
        ];
        for args in wrong {
            assert_eq!(verify(args).unwrap_err().exit_code(), 2, "{args:?}");
        }
        let args = verify(&["-p", "7", "-p", "1,7", "-d", "3s"]).unwrap();
        assert_eq!((args.pids(), args.duration), (vec![1, 7], Some(std::time::Duration::from_secs(3))));
    }

    #[test]
    fn help_offers_what_is_there() {
        let help = verify(&["--help"]).unwrap_err().to_string();
        assert!(help.contains("--max-copied") && help.contains("--pid"), "{help}");
        assert!(help.lines().all(|line| line.len() <= 100), "{help}");
    }
}
