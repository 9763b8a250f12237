//! Runs one workload and writes down exactly what it did.

use std::{
    error::Error,
    ffi::OsString,
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use zc_tests::fixtures;

const USAGE: &str = "usage: zc-fixture NAME [--dir DIR] [--expect FILE]\n       zc-fixture --list";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let runs = [fixtures::run_as_child, fixtures::run_as_churn, fixtures::run_as_former];
    if runs.iter().any(|run| run(&arguments).is_some()) {
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zc-fixture: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[OsString]) -> Result<(), Box<dyn Error>> {
    let (mut name, mut dir, mut expect) = (None, None, None);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.to_str() {
            Some("--list") => return list(),
            Some("--dir") => dir = rest.next().map(PathBuf::from),
            Some("--expect") => expect = rest.next().map(PathBuf::from),
            Some(word) if name.is_none() && !word.starts_with('-') => name = Some(word),
            _ => return Err(USAGE.into()),
        }
    }
    let fixture = name.and_then(fixtures::find).ok_or(USAGE)?;
    let own = if dir.is_none() { Some(tempfile::tempdir()?) } else { None };
    let dir = dir.or_else(|| own.as_ref().map(|own| own.path().to_owned())).ok_or(USAGE)?;
    let expectation = serde_json::to_string_pretty(&fixture.run(&dir))?;
    match expect {
        // Appears whole or not at all: others wait for the file as the sign of the end.
        Some(path) => {
            let part = path.with_extension("part");
            fs::write(&part, expectation)?;
            fs::rename(&part, &path)?;
        }
        None => writeln!(io::stdout(), "{expectation}")?,
    }
    Ok(())
}

fn list() -> Result<(), Box<dyn Error>> {
    for fixture in fixtures::all().into_iter().chain(fixtures::of_guests()) {
        writeln!(io::stdout(), "{:<20} {}", fixture.name, fixture.about)?;
    }
    Ok(())
}
