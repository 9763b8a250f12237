//! Fixtures that do an exact, known number of things, and the harness that holds `zc` to them.
//!
//! The parts: `fixtures` do the work and say what it was (`expect`), `zc` runs the tool under test,
//! `report` is its contract, `compare` joins the two, `witness` asks strace and perf as third parties.
#![allow(clippy::missing_panics_doc, reason = "a harness reports by panicking: every function may")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "fixtures pass sizes and results between the kernel's types; all are far below 2^31"
)]

pub mod compare;
pub mod csv;
pub mod daemon;
pub mod disk;
pub mod dist;
pub mod expect;
pub mod fixtures;
pub mod job;
pub mod lab;
pub mod machine;
pub mod nginx;
pub mod prometheus;
pub mod relay;
pub mod report;
pub mod session;
pub mod venv;
pub mod wire;
pub mod witness;
pub mod zc;

use std::path::PathBuf;

use tempfile::TempDir;

use crate::{expect::Expectation, job::Job};

/// The fixture program that cargo built for the calling test.
#[macro_export]
macro_rules! fixture {
    ($name:expr) => {
        $crate::Work::new(env!("CARGO_BIN_EXE_zc-fixture"), $name)
    };
}

/// A fixture about to run, with a directory of its own.
#[derive(Debug)]
pub struct Work {
    program: &'static str,
    name: String,
    dir: TempDir,
}

impl Work {
    /// Prepares the fixture `name`; tests say `fixture!(name)`.
    pub fn new(program: &'static str, name: &str) -> Self {
        Self { program, name: name.into(), dir: machine::temp_dir() }
    }

    /// Works in a fresh directory below this one instead.
    #[must_use]
    pub fn within(self, parent: &std::path::Path) -> Self {
        let dir = tempfile::Builder::new().prefix("zc-").tempdir_in(parent).expect("a temporary directory");
        Self { dir, ..self }
    }

    /// The fixture's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it works.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Where it writes down what it did.
    pub fn expect_path(&self) -> PathBuf {
        self.dir.path().join("expectation.json")
    }

    /// The command to run.
    pub fn command(&self) -> Vec<String> {
        let path = |path: PathBuf| path.to_str().expect("a UTF-8 path").to_owned();
        let (dir, expect) = (path(self.dir.path().to_owned()), path(self.expect_path()));
        [self.program, &self.name, "--dir", &dir, "--expect", &expect].map(Into::into).to_vec()
    }

    /// What it did; it must have ended.
    pub fn expectation(&self) -> Expectation {
        let path = self.expect_path();
        let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_slice(&text).expect("an expectation")
    }

    /// Runs it by itself.
    pub fn run_plain(&self) -> Expectation {
        let done = Job::new(&self.command()).finish();
        assert!(done.status.success(), "{} failed: {}", self.name, done.stderr);
        self.expectation()
    }
}
