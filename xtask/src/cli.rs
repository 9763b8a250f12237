//! The command line of `cargo xtask`.

use std::{env, ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand};

/// Builds, runs and tests zc; installs what is missing, and says so.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Find or install the toolchain that builds the kernel programs
    Setup,
    /// Build the kernel programs, if they changed, and print where the object is
    BuildEbpf {
        /// Accepted for the habit of it: the kernel accepts nothing but optimised programs
        #[arg(long)]
        release: bool,
    },
    /// Build the kernel programs and zc, and print where zc is
    Build,
    /// Build what is missing and start `zc run`: `cargo xtask run [OPTIONS --] COMMAND…`
    Run {
        /// Options of `zc run`, then `--`, then the command; or the command alone
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Build what is missing and start zc with these arguments: `cargo xtask zc check`
    Zc {
        /// Passed on as they are
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Check formatting, lints, licences and sources of dependencies
    Lint,
    /// Run every test, installing the programs they measure
    Test(TestOptions),
    /// Run the tests on other kernels, each in a virtual machine
    VmTest(VmOptions),
    /// Compare what kernels make of the programs with the record in docs/verifier.md
    Verifier(VerifierOptions),
    /// Build zc and pack it: an archive and a Debian package, in target/dist
    Dist(DistOptions),
    /// Build everything and start the benchmarks
    Bench {
        /// Options of the benchmark program, such as --quick
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// What to test.
#[derive(Args)]
pub(crate) struct TestOptions {
    /// Only tests with NAME in their name
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Option<String>,
    /// Leave formatting and lints out
    #[arg(long)]
    pub(crate) no_lint: bool,
    /// Leave the tests on other kernels out
    #[arg(long)]
    pub(crate) no_vm: bool,
}

/// What to test on which kernels.
#[derive(Args)]
pub(crate) struct VmOptions {
    /// A kernel of Debian, by its version or the beginning of it; 6.1 and 6.12 when none is given
    #[arg(long, value_name = "VERSION")]
    pub(crate) kernel: Vec<String>,
    /// Only tests with NAME in their name
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Option<String>,
}

/// What to compare with the record.
#[derive(Args)]
pub(crate) struct VerifierOptions {
    /// Put what is found on record
    #[arg(long)]
    pub(crate) record: bool,
    /// The running kernel only
    #[arg(long)]
    pub(crate) no_vm: bool,
}

/// What to pack.
#[derive(Args)]
pub(crate) struct DistOptions {
    /// Pack this zc instead of building one
    #[arg(long, value_name = "FILE")]
    pub(crate) bin: Option<PathBuf>,
    /// Put what is made into this directory instead of target/dist
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

/// What follows the name of the command, untouched: a parser would take the first `--` away, and that is
/// where the options of zc end.
pub(crate) fn raw_arguments() -> Vec<OsString> {
    env::args_os().skip(2).collect()
}

/// The arguments of `zc` for `cargo xtask run ARGUMENTS`.
///
/// With a `--` they are passed on as they are. Without one they are a command to run, unless they begin
/// with an option, about which zc itself knows more.
pub(crate) fn zc_run(arguments: &[OsString]) -> Vec<OsString> {
    let mut passed = vec![OsString::from("run")];
    let is_command = arguments.first().is_some_and(|first| !first.as_encoded_bytes().starts_with(b"-"));
    if is_command && !arguments.iter().any(|argument| argument == "--") {
        passed.push("--".into());
    }
    passed.extend_from_slice(arguments);
    passed
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn split(line: &str) -> String {
        let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        zc_run(&arguments).join(" ".as_ref()).to_string_lossy().into_owned()
    }

    #[test]
    fn a_command_after_the_dashes_is_passed_on() {
        assert_eq!(split("-- dd if=/dev/zero bs=64k"), "run -- dd if=/dev/zero bs=64k");
        assert_eq!(split("-- zc-something -- x"), "run -- zc-something -- x");
    }

    #[test]
    fn options_before_the_dashes_are_of_zc_run() {
        assert_eq!(split("-o out.json --format json -- dd"), "run -o out.json --format json -- dd");
    }

    #[test]
    fn a_command_alone_needs_no_dashes() {
        assert_eq!(split("dd if=/dev/zero"), "run -- dd if=/dev/zero");
    }

    #[test]
    fn options_alone_are_left_for_zc_to_judge() {
        assert_eq!(split("-p 1"), "run -p 1");
        assert_eq!(split(""), "run");
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
