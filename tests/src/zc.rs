//! The tool under test.

use std::path::{Path, PathBuf};

use crate::{
    job::{Done, Job, Running},
    machine::{self, Exclusive},
    report::Report,
};

/// The `zc` binary, and the right to be the only test that traces.
#[derive(Debug)]
pub struct Zc {
    bin: PathBuf,
    reports: tempfile::TempDir,
    _exclusive: Exclusive,
}

/// A traced command that has ended, and what `zc` reported of it.
#[derive(Debug)]
pub struct Traced {
    /// The report.
    pub report: Report,
    /// The report as it was written.
    pub json: Vec<u8>,
    /// How `zc` itself ended and what was printed.
    pub done: Done,
}

/// The binary that `cargo xtask test` built.
pub fn binary() -> PathBuf {
    let Some(path) = std::env::var_os("ZC_BIN").map(PathBuf::from) else {
        panic!("ZC_BIN names no zc to test: run through `cargo xtask test`");
    };
    assert!(path.is_file(), "ZC_BIN is {}, which is no file: run through `cargo xtask test`", path.display());
    std::fs::canonicalize(path).expect("the path of zc")
}

impl Zc {
    /// Waits for its turn to trace. `None`, with the reason printed, when this is not root or one of the
    /// programs is not installed.
    pub fn with(programs: &[&str]) -> Option<Self> {
        let able = machine::require_root() && programs.iter().all(|program| machine::require_cmd(program));
        able.then(|| Self { bin: binary(), reports: machine::temp_dir(), _exclusive: Exclusive::take() })
    }

    /// The binary's path.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// `zc` with these words.
    pub fn job<S: AsRef<str>>(&self, words: &[S]) -> Job {
        let program = self.bin.to_str().expect("a UTF-8 path");
        let words: Vec<&str> = std::iter::once(program).chain(words.iter().map(AsRef::as_ref)).collect();
        Job::new(&words)
    }

    /// A path for a report that goes away with this object.
    pub fn report_path(&self, name: &str) -> PathBuf {
        self.reports.path().join(name)
    }

    /// `zc run` with a JSON report to a file.
    pub fn run_job<S: AsRef<str>>(&self, report: &Path, options: &[&str], command: &[S]) -> Job {
        let report = report.to_str().expect("a UTF-8 path");
        let mut words = vec!["run", "--format", "json", "-o", report];
        words.extend(options);
        words.push("--");
        words.extend(command.iter().map(AsRef::as_ref));
        self.job(&words)
    }

    /// Traces a command to its end.
    pub fn run_json<S: AsRef<str>>(&self, options: &[&str], command: &[S]) -> Traced {
        let path = self.report_path("report.json");
        Traced::collect(&path, self.run_job(&path, options, command).finish())
    }

    /// Traces a command that must end well.
    pub fn trace<S: AsRef<str>>(&self, command: &[S]) -> Report {
        let Traced { report, done, .. } = self.run_json(&[], command);
        assert!(done.status.success(), "the traced command failed: {}", done.stderr);
        report
    }

    /// Starts a traced command that goes on until it is told to end.
    pub fn start<S: AsRef<str>>(&self, command: &[S]) -> Serving {
        self.start_with(&[], command)
    }

    /// The same, with options for `zc`.
    pub fn start_with<S: AsRef<str>>(&self, options: &[&str], command: &[S]) -> Serving {
        let path = self.report_path("serving.json");
        Serving { running: self.run_job(&path, options, command).start(), path }
    }
}

impl Traced {
    /// Reads the report that a finished `zc` left.
    pub fn collect(path: &Path, done: Done) -> Self {
        let json = std::fs::read(path).unwrap_or_else(|error| {
            panic!("no report: {error}; zc ended with {}: {}", done.status, done.stderr)
        });
        Self { report: Report::parse(&json), json, done }
    }
}

/// A traced server.
#[derive(Debug)]
pub struct Serving {
    /// `zc`, which leads the process group of the server.
    pub running: Running,
    path: PathBuf,
}

impl Serving {
    /// Waits for the end and reads the report.
    pub fn collect(self) -> Traced {
        let Self { running, path } = self;
        Traced::collect(&path, running.finish())
    }
}
