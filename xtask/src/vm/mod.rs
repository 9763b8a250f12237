//! `cargo xtask vm-test`: the tests on other kernels, each in a virtual machine.

mod cpio;
mod image;
mod kernel;
mod known;
mod machine;
mod matrix;
mod modules;
mod results;

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use self::{
    kernel::Kernel,
    machine::{Accelerator, Machine},
    matrix::Column,
    results::{BEGIN, CHECK, Outcome, Results},
};
use crate::{
    cli::VmOptions,
    launch, packages,
    process::{self, say},
    tally::Tally,
    verifier::{self, Measured},
    workspace::Workspace,
};

/// What is tested when nothing else is asked for: Debian 12's kernel, and that of its backports and of Debian 13.
const KERNELS: [&str; 2] = ["6.1", "6.12"];

/// Test programs that are run in the machine.
const TESTS: [&str; 2] = ["exact", "bait"];

/// More than a machine takes that does not hang, on two slow processors.
const LIMIT: Duration = Duration::from_secs(420);

/// How much of a console is shown when its machine crashed.
const CONSOLE_LINES: usize = 60;

/// Runs the tests on each kernel that was asked for, and prints the matrix.
pub(crate) fn run(workspace: &Workspace, options: &VmOptions) -> Result<ExitCode> {
    let asked: Vec<&str> = if options.kernel.is_empty() {
        KERNELS.to_vec()
    } else {
        options.kernel.iter().map(String::as_str).collect()
    };
    for version in &asked {
        kernel::check_version(version)?;
    }
    packages::install_missing(packages::VM)?;
    let kernels = asked.iter().map(|asked| Kernel::get(workspace, asked)).collect::<Result<Vec<_>>>()?;
    launch::build_zc(workspace)?;
    let columns = matrix_of(workspace, &kernels, options.only.as_deref())?;
    let green = columns.iter().all(Column::is_green);
    Ok(if green { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The same for `cargo xtask test`, which has built zc. A kernel that cannot be had is an error in CI; elsewhere it is
/// said, and the others are run.
pub(crate) fn test_all(workspace: &Workspace) -> Result<Tally> {
    packages::install_missing(packages::VM)?;
    let mut kernels = Vec::new();
    for asked in KERNELS {
        match machine::require_qemu().and_then(|()| Kernel::get(workspace, asked)) {
            Ok(kernel) => kernels.push(kernel),
            Err(error) if process::is_ci() => return Err(error),
            Err(error) => say(format!("nothing is tested on Linux {asked}: {error:#}")),
        }
    }
    let mut total = Tally::default();
    for column in matrix_of(workspace, &kernels, None)? {
        total += column.tally();
    }
    Ok(total)
}

/// Runs the tests with `only` in their name on each kernel, one after another, and prints the matrix.
fn matrix_of(workspace: &Workspace, kernels: &[Kernel], only: Option<&str>) -> Result<Vec<Column>> {
    if kernels.is_empty() {
        return Ok(Vec::new());
    }
    let tests = build_tests(workspace)?;
    let columns: Vec<Column> =
        kernels.iter().map(|kernel| test(workspace, kernel, &tests, only)).collect::<Result<_>>()?;
    print!("{}", matrix::table(&columns));
    for column in &columns {
        println!("{}", column.summary());
    }
    Ok(columns)
}

/// What the other kernels make of the programs.
pub(crate) fn measure(workspace: &Workspace) -> Result<Vec<Measured>> {
    packages::install_missing(packages::VM)?;
    KERNELS.iter().map(|asked| measure_one(workspace, &Kernel::get(workspace, asked)?)).collect()
}

fn measure_one(workspace: &Workspace, kernel: &Kernel) -> Result<Measured> {
    let mut results = Results::default();
    let outcome = boot(workspace, kernel, &[], None, |line| drop(results.take(line)))?;
    ensure!(
        !results.programs.is_empty(),
        "Linux {} does not say what it makes of the programs; its console is {}",
        kernel.version,
        outcome.console.display()
    );
    Ok(Measured { version: kernel.version.clone(), programs: results.programs })
}

/// Runs the job in a machine; each line of the results is given to `line`.
fn boot(
    workspace: &Workspace,
    kernel: &Kernel,
    tests: &[PathBuf],
    only: Option<&str>,
    line: impl FnMut(&str),
) -> Result<machine::Outcome> {
    let dir = workspace.root().join("target/vm/runs").join(&kernel.version);
    let accelerator = Accelerator::probe(workspace, kernel)?;
    say(format!("running Linux {} ({}) in a virtual machine", kernel.version, kernel.asked));
    let programs: Vec<PathBuf> = [&["zc"][..], if tests.is_empty() { &[] } else { &["zc-fixture"] }]
        .concat()
        .iter()
        .map(|name| workspace.release_bin(name))
        .chain(tests.iter().cloned())
        .collect();
    let image = image::build(workspace, kernel, &programs, &job(tests, only))?;
    let disk = machine::make_disk(&dir)?;
    Machine { accelerator, limit: LIMIT, dir }.run(kernel, &image, Some(&disk), line)
}

/// Runs the tests on one kernel.
fn test(workspace: &Workspace, kernel: &Kernel, tests: &[PathBuf], only: Option<&str>) -> Result<Column> {
    let mut results = Results::default();
    let outcome = boot(workspace, kernel, tests, only, |line| {
        if let Some((case, Outcome::Failed(_))) = results.take(line) {
            say(format!("{}: {}: {}: failed", kernel.version, case.part, case.name));
        }
    })?;
    // A machine that runs nothing has shown nothing.
    let parts = [CHECK].into_iter().chain(TESTS.iter().copied().filter(|_| only.is_none()));
    for part in parts {
        results.ended &= results.cases.keys().any(|case| case.part == part);
    }
    let measured = Measured { version: kernel.version.clone(), programs: results.programs.clone() };
    results.add_judgements(verifier::judged(workspace, &measured)?);
    let column = Column { version: kernel.version.clone(), results };
    say(format!("{} ({} s)", column.summary(), outcome.took.as_secs()));
    for (case, said) in column.failures() {
        say(format!("{}: {}: {}\n{}", kernel.version, case.part, case.name, said.trim_end()));
    }
    for (case, reason) in column.surprises() {
        say(format!(
            "{}: {}: {} passes, so this is no longer so, and `known.rs` is wrong: {reason}",
            kernel.version, case.part, case.name
        ));
    }
    if !column.results.ended {
        let why = if outcome.timed_out { "its time was up" } else { "it stopped" };
        say(format!(
            "the machine did not come to its end: {why}. The end of its console, {}:\n{}",
            outcome.console.display(),
            machine::last_lines(&outcome.console, CONSOLE_LINES)
        ));
    }
    Ok(column)
}

/// What the machine does: a part for each test program, after one that says which hooks there are.
fn job(tests: &[PathBuf], only: Option<&str>) -> String {
    let filter = only.map(|name| format!(" '{name}'")).unwrap_or_default();
    let mut job = format!("echo '{BEGIN}{CHECK}'\n\"$ZC_BIN\" check --verbose 2>&1 | cat\n");
    for (name, program) in TESTS.iter().zip(tests) {
        let program = program.display();
        let _ =
            writeln!(job, "echo '{BEGIN}{name}'\n'{program}' --test-threads=1 --show-output{filter} 2>&1");
    }
    job
}

/// Builds the fixtures and the test programs; returns where the latter are.
fn build_tests(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let mut cargo = workspace.cargo();
    process::run(cargo.args(["build", "--release", "--package", "zc-tests", "--bins"]))?;
    TESTS.iter().map(|name| build_test(workspace.cargo(), name)).collect()
}

fn build_test(mut cargo: Command, name: &str) -> Result<PathBuf> {
    cargo.args(["test", "--release", "--package", "zc-tests", "--test", name, "--no-run"]);
    let printed = process::output(cargo.arg("--message-format=json"))?;
    executable(&printed, name).with_context(|| format!("cargo built the test `{name}`, but where is unknown"))
}

/// The program of a test in cargo's messages, one on each line.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    const FIELD: &str = "\"executable\":\"";
    let named = format!("\"name\":\"{name}\"");
    let line = messages.lines().find(|line| line.contains(&named) && line.contains(FIELD))?;
    let (_, rest) = line.split_once(FIELD)?;
    let (path, _) = rest.split_once('"')?;
    Some(Path::new(path).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_of_a_test_is_found_in_cargos_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"other\"},\"executable\":null}\n\
            {\"target\":{\"kind\":[\"test\"],\"name\":\"exact\"},\"executable\":\"/t/exact-1\",\"fresh\":true}\n";
        assert_eq!(executable(messages, "exact"), Some(PathBuf::from("/t/exact-1")));
        assert_eq!(executable(messages, "other"), None);
    }

    #[test]
    fn a_job_says_where_each_part_begins() {
        let job = job(&[PathBuf::from("/t/exact-1")], Some("ring"));
        assert!(job.contains("echo 'zc-vm: begin check'"), "{job}");
        assert!(job.contains("'/t/exact-1' --test-threads=1 --show-output 'ring'"), "{job}");
    }
}
