//! Every test, and one closing line that says how many passed.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    cli::TestOptions,
    launch, lint, packages,
    process::{self, say},
    tally::{Counter, Tally},
    verifier, vm,
    workspace::Workspace,
};

const TRACEFS: &str = "/sys/kernel/tracing";

/// How long the output of a test run may stay open after its end, before what holds it open is left behind.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs lints, host tests and end-to-end tests, and prints the closing line.
pub(crate) fn run(workspace: &Workspace, options: &TestOptions) -> ExitCode {
    let mut session = Session { workspace, only: options.only.as_deref(), total: Tally::default() };
    session.all(options);
    if session.total.passed == 0 && session.total.failed == 0 {
        say("no test was run, which proves nothing; is the name given with --only right?");
        session.total.failed = 1;
    }
    // The closing line is alone on its line, whatever a test left unfinished before it.
    println!("{}", session.total);
    if session.total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Session<'a> {
    workspace: &'a Workspace,
    only: Option<&'a str>,
    total: Tally,
}

impl Session<'_> {
    /// The steps in order. One that fails does not keep later ones from being run, unless they need it.
    fn all(&mut self, options: &TestOptions) {
        let workspace = self.workspace;
        self.step("packages", |_| {
            packages::install_missing(packages::TESTS)?;
            packages::install_missing(packages::DIST)
        });
        self.step("tracefs", |_| mount_tracefs());
        if !options.no_lint {
            self.step("lint", |_| lint::run(workspace));
        }
        let built = self.step("build", |_| launch::build_zc(workspace));
        self.step("host tests", Self::host_tests);
        if !process::is_root() {
            self.step("end-to-end tests", |_| without_root());
        } else if built {
            if self.only.is_none() {
                self.step("the programs' sizes", Self::program_sizes);
            }
            self.step("end-to-end tests", Self::end_to_end_tests);
        }
        if self.only.is_some() {
            say("with --only, other kernels are left to `cargo xtask vm-test --only NAME`");
        } else if built && !options.no_vm {
            self.step("other kernels", Self::other_kernels);
        }
    }

    /// Runs a step; its failure counts as one failed test, if it did not count failed ones itself.
    fn step(&mut self, name: &str, work: impl FnOnce(&mut Self) -> Result<()>) -> bool {
        say(format!("test: {name}"));
        let before = self.total.failed;
        let Err(error) = work(self) else { return true };
        say(format!("{name}: {error:#}"));
        if self.total.failed == before {
            self.total.failed += 1;
        }
        false
    }

    fn host_tests(&mut self) -> Result<()> {
        let mut cargo = self.workspace.cargo();
        cargo.args([
            "test",
            "--workspace",
            "--exclude",
            "zc-ebpf",
            "--exclude",
            "zc-tests",
            "--no-fail-fast",
        ]);
        cargo.args(self.only);
        self.counted(&mut cargo)
    }

    fn program_sizes(&mut self) -> Result<()> {
        self.total += verifier::test(self.workspace)?;
        Ok(())
    }

    fn other_kernels(&mut self) -> Result<()> {
        self.total += vm::test_all(self.workspace)?;
        Ok(())
    }

    fn end_to_end_tests(&mut self) -> Result<()> {
        let mut programs = self.workspace.cargo();
        process::run(programs.args(["build", "--release", "--package", "zc-tests", "--bins"]))?;

        let mut cargo = self.workspace.cargo();
        cargo.args(["test", "--profile", "checks", "--package", "zc-tests", "--no-fail-fast"]);
        cargo.args(self.only);
        // They share one kernel, and each counts what happens in it.
        cargo.args(["--", "--test-threads=1"]);
        launch::set_program_paths(&mut cargo, self.workspace);
        self.counted(&mut cargo)
    }

    /// Runs `cargo test`, passes its output on as it comes, and adds its results up.
    fn counted(&mut self, cargo: &mut Command) -> Result<()> {
        let shown = process::show(cargo);
        let mut child = cargo
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start `{shown}`"))?;
        let mut stdout = child.stdout.take().context("the child has no output")?;
        let counter = Arc::new(Mutex::new(Counter::default()));
        let (open, closed) = mpsc::channel::<()>();
        let reader = Arc::clone(&counter);
        thread::spawn(move || {
            let mut piece = [0; 8192];
            while let Ok(length @ 1..) = stdout.read(&mut piece) {
                pass_on(&piece[..length]);
                reader.lock().unwrap_or_else(PoisonError::into_inner).feed(&piece[..length]);
            }
            drop(open);
        });
        let status = child.wait().with_context(|| format!("wait for `{shown}`"))?;
        let left_open = closed.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        self.total += counter.lock().unwrap_or_else(PoisonError::into_inner).tally();
        process::check(&shown, status)?;
        if left_open {
            bail!("a test left a process behind, which still holds the output of `{shown}` open");
        }
        Ok(())
    }
}

/// Writes to our stdout. When nobody reads it any more, the tests still run to their end and count.
fn pass_on(piece: &[u8]) {
    let mut stdout = io::stdout().lock();
    drop(stdout.write_all(piece).and_then(|()| stdout.flush()));
}

/// Mounts tracefs where tests, benchmarks and zc look for it; a machine that was not set up for tracing lacks it.
pub(crate) fn mount_tracefs() -> Result<()> {
    if !process::is_root() || Path::new(TRACEFS).join("events").is_dir() {
        return Ok(());
    }
    if !fs::exists(TRACEFS).unwrap_or(false) {
        bail!("the kernel has no {TRACEFS}: it was built without tracing");
    }
    say(format!("mounting tracefs at {TRACEFS}"));
    process::run(Command::new("mount").args(["-t", "tracefs", "tracefs", TRACEFS]))
}

fn without_root() -> Result<()> {
    let message = "the end-to-end tests load kernel programs and need root; run `sudo -E env PATH=\"$PATH\" cargo xtask test`";
    if process::is_ci() {
        return Err(anyhow!(message));
    }
    say(message);
    Ok(())
}
