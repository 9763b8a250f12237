//! Many fixtures under one `zc`: where a start of it takes seconds, as on an emulated machine.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    Work,
    zc::{Traced, Zc},
};

/// What environment variable asks for it.
const VARIABLE: &str = "ZC_ONE_SESSION";

/// Longer than any fixture takes, in seconds.
const LIMIT: u32 = 120;

/// Fixtures that were traced together, each in a child of one shell.
#[derive(Debug)]
pub struct Session {
    traced: Traced,
    works: BTreeMap<String, Work>,
}

/// Whether fixtures are to share a `zc`.
pub fn is_wanted() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

impl Session {
    /// Runs them one after another; an error says why there is no report of them.
    pub fn run(zc: &Zc, works: Vec<Work>) -> Result<Self, String> {
        let mut script = String::new();
        for work in &works {
            let words: Vec<String> = work.command().iter().map(|word| format!("'{word}'")).collect();
            let error = work.dir().join(ERROR);
            // What it says is for whoever looks at its case; that it failed is known by its missing expectation.
            writeln!(script, "timeout {LIMIT} {} 2>'{}'", words.join(" "), error.display())
                .map_err(|error| error.to_string())?;
        }
        script.push_str("true\n");
        let path = zc.report_path("session.json");
        let done = zc.run_job(&path, &[], &["sh", "-c", &script]).finish();
        if std::fs::metadata(&path).map_or(0, |found| found.len()) == 0 {
            return Err(format!("no report; zc ended with {}: {}", done.status, done.stderr));
        }
        let works = works.into_iter().map(|work| (work.name().to_owned(), work)).collect();
        Ok(Self { traced: Traced::collect(&path, done), works })
    }

    /// The report of all of them.
    pub fn traced(&self) -> &Traced {
        &self.traced
    }

    /// The fixture of this name, which must have ended well.
    pub fn work(&self, name: &str) -> &Work {
        let work = self.works.get(name).unwrap_or_else(|| panic!("{name} was not part of the session"));
        let said = std::fs::read_to_string(work.dir().join(ERROR)).unwrap_or_default();
        assert!(work.expect_path().is_file(), "{name} failed: {said}");
        work
    }
}

/// What a fixture says, in its directory.
const ERROR: &str = "stderr";
