//! `cargo xtask vm-test`: the tests on other kernels, each in a virtual machine.

mod boots;
mod cpio;
mod image;
mod kernel;
mod known;
mod machine;
mod matrix;
mod modules;
mod network;
mod results;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use self::{
    boots::{BOOTS, Boot, PROGRAMS},
    kernel::Kernel,
    machine::{Accelerator, Machine},
    matrix::Column,
    network::Network,
    results::{Outcome, Results},
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

/// More than a machine takes that does not hang, when others want the processors, too.
const LIMIT: Duration = Duration::from_secs(600);

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

/// Runs the tests with `only` in their name on each kernel, and prints the matrix.
fn matrix_of(workspace: &Workspace, kernels: &[Kernel], only: Option<&str>) -> Result<Vec<Column>> {
    if kernels.is_empty() {
        return Ok(Vec::new());
    }
    let tests = build_tests(workspace)?;
    if let Some(only) = only {
        require_some(&tests, only)?;
    }
    let accelerator = Accelerator::probe(workspace, &kernels[0])?;
    let network = Network::probe();
    let lab = Lab { workspace, accelerator, network: &network };
    let runs: Vec<(&Kernel, &Boot)> =
        kernels.iter().flat_map(|kernel| BOOTS.iter().map(move |boot| (kernel, boot))).collect();
    let mut done = at_once(&runs, |(kernel, boot)| lab.test(kernel, boot, &tests, only)).into_iter();
    let mut columns = Vec::new();
    for kernel in kernels {
        let mut results = Results::of_none();
        for of_boot in done.by_ref().take(BOOTS.len()) {
            results.join(of_boot?);
        }
        let column = Column { version: kernel.version.clone(), results };
        say_what_failed(&column);
        columns.push(column);
    }
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
    let accelerator = Accelerator::probe(workspace, kernel)?;
    let lab = Lab { workspace, accelerator, network: &Network { no_pieces: None } };
    let mut results = Results::default();
    let outcome = lab.boot(kernel, &PROGRAMS, &[], None, |line| drop(results.take(line)))?;
    ensure!(
        !results.programs.is_empty(),
        "Linux {} does not say what it makes of the programs; its console is {}",
        kernel.version,
        outcome.console.display()
    );
    Ok(Measured { version: kernel.version.clone(), programs: results.programs })
}

/// Does all of `work`, as many at once as there are processors, and gives what became of each in the same order.
fn at_once<T: Sync, R: Send>(work: &[T], each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let workers = thread::available_parallelism().map_or(1, usize::from).min(work.len());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((index, one)) = Some(next.fetch_add(1, Ordering::Relaxed))
                    .and_then(|index| Some((index, work.get(index)?)))
                {
                    let result = each(one);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Where machines are run.
struct Lab<'a> {
    workspace: &'a Workspace,
    accelerator: Accelerator,
    network: &'a Network,
}

impl Lab<'_> {
    /// Runs the job in a machine; each line of the results is given to `line`.
    fn boot(
        &self,
        kernel: &Kernel,
        boot: &Boot,
        tests: &[PathBuf],
        only: Option<&str>,
        line: impl FnMut(&str),
    ) -> Result<machine::Outcome> {
        let Self { workspace, accelerator, network } = *self;
        let dir = workspace.root().join("target/vm/runs").join(&kernel.version).join(boot.name);
        say(format!(
            "running Linux {} ({}) in a virtual machine: {}",
            kernel.version, kernel.asked, boot.name
        ));
        let mut programs = vec![workspace.release_bin("zc")];
        if !tests.is_empty() {
            programs.push(workspace.checks_bin("zc-fixture"));
            programs.extend_from_slice(tests);
        }
        let network = boot.has_network.then(|| network.clone());
        let image = image::build(workspace, kernel, &programs, network.as_ref(), &boot.job(tests, only))?;
        let disks = machine::make_disks(&dir)?;
        Machine { accelerator, limit: LIMIT, dir, network }.run(kernel, &image, &disks, line)
    }

    /// Runs what one machine has to, on one kernel.
    fn test(
        &self,
        kernel: &Kernel,
        boot: &Boot,
        programs: &BTreeMap<&str, PathBuf>,
        only: Option<&str>,
    ) -> Result<Results> {
        let tests: Vec<PathBuf> = boot.tests.iter().filter_map(|name| programs.get(name).cloned()).collect();
        let mut results = Results::default();
        let outcome = self.boot(kernel, boot, &tests, only, |line| {
            if let Some((case, Outcome::Failed(_))) = results.take(line) {
                say(format!("{}: {}: {}: failed", kernel.version, case.part, case.name));
            }
        })?;
        if !results.ended {
            let why = if outcome.timed_out { "its time was up" } else { "it stopped" };
            say(format!(
                "the machine did not come to its end: {why}. The end of its console, {}:\n{}",
                outcome.console.display(),
                machine::last_lines(&outcome.console, CONSOLE_LINES)
            ));
        }
        for part in boot.parts(only) {
            results.ended &= results.cases.keys().any(|case| case.part == part);
        }
        if boot.checks {
            let measured = Measured { version: kernel.version.clone(), programs: results.programs.clone() };
            results.add_judgements(verifier::judged(self.workspace, &measured)?);
        }
        say(format!("{}: {} took {} s", kernel.version, boot.name, outcome.took.as_secs()));
        Ok(results)
    }
}

fn say_what_failed(column: &Column) {
    say(column.summary());
    for (case, said) in column.failures() {
        say(format!("{}: {}: {}\n{}", column.version, case.part, case.name, said.trim_end()));
    }
    for (case, reason) in column.surprises() {
        say(format!(
            "{}: {}: {} passes, so this is no longer so, and `known.rs` is wrong: {reason}",
            column.version, case.part, case.name
        ));
    }
}

/// Builds the fixtures and the test programs; returns where the latter are.
fn build_tests(workspace: &Workspace) -> Result<BTreeMap<&'static str, PathBuf>> {
    let mut cargo = workspace.cargo();
    process::run(cargo.args(["build", "--profile", "checks", "--package", "zc-tests", "--bins"]))?;
    let names = BOOTS.iter().flat_map(|boot| boot.tests);
    names.map(|&name| Ok((name, build_test(workspace.cargo(), name)?))).collect()
}

fn build_test(mut cargo: Command, name: &str) -> Result<PathBuf> {
    cargo.args(["test", "--profile", "checks", "--package", "zc-tests", "--test", name, "--no-run"]);
    let printed = process::output(cargo.arg("--message-format=json"))?;
    executable(&printed, name).with_context(|| format!("cargo built the test `{name}`, but where is unknown"))
}

/// An error when no test has `only` in its name: a machine that runs none would be as green as one that runs all.
fn require_some(tests: &BTreeMap<&str, PathBuf>, only: &str) -> Result<()> {
    for program in tests.values() {
        if lists_some(&process::output(Command::new(program).args([only, "--list"]))?) {
            return Ok(());
        }
    }
    let files: Vec<&str> = tests.keys().copied().collect();
    bail!(
        "no test of {} has `{only}` in its name; --only does not know the names of their files",
        files.join(", ")
    )
}

/// Whether a test program's `--list` has any.
fn lists_some(listed: &str) -> bool {
    listed.lines().any(|line| line.ends_with(": test"))
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
    fn what_is_done_at_once_comes_back_in_order() {
        let work: Vec<u64> = (0..23).collect();
        assert_eq!(at_once(&work, |number| number * 2), (0..23).map(|number| number * 2).collect::<Vec<_>>());
    }

    #[test]
    fn a_list_without_tests_is_known() {
        assert!(lists_some("bait_one: test\nbait_two: test\n\n2 tests, 0 benchmarks\n"));
        assert!(!lists_some("0 tests, 0 benchmarks\n"));
    }
}
