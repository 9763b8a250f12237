//! The hidden command `zc lab-worker`: the processes that do the rows. Each is an exec of its own, so that it is traced
//! from its first instruction on.
//!
//! The first worker prepares the page cache and starts a process for each step. All of them end with their parents.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io::{self, Write as _},
    os::fd::{FromRawFd as _, RawFd},
    process::{Command, ExitCode},
};

use super::{
    plan::{self, Step},
    rows::{self, Cache},
    tell::Told,
    workloads::{self, Context, cache, stream, veth},
};

/// The command's name.
pub const NAME: &str = "lab-worker";

/// The descriptors that all workers have.
#[derive(Clone, Copy, Debug)]
pub struct Files {
    /// The file that is read.
    pub source: RawFd,
    /// The file that is written.
    pub destination: RawFd,
    /// Where to tell what was done.
    pub told: RawFd,
}

/// The command line of the first worker.
pub fn command(rows: &[&'static rows::Row], size: u64, traced: bool, files: Files) -> Vec<OsString> {
    let mut words = vec!["/proc/self/exe".to_owned(), NAME.into(), "all".into()];
    words.extend(common(size, traced, files));
    words.extend(rows.iter().map(|row| row.name.to_owned()));
    words.into_iter().map(Into::into).collect()
}

fn common(size: u64, traced: bool, files: Files) -> [String; 5] {
    let Files { source, destination, told } = files;
    [
        size.to_string(),
        u8::from(traced).to_string(),
        source.to_string(),
        destination.to_string(),
        told.to_string(),
    ]
}

/// Runs as a worker when the command line says so.
pub fn entry(arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let mut words = arguments.skip(1).map(|word| word.into_string().unwrap_or_default());
    (words.next().as_deref() == Some(NAME)).then(|| {
        let words: Vec<String> = words.collect();
        match act(&words) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("zc {NAME}: {error}");
                ExitCode::FAILURE
            }
        }
    })
}

fn act(words: &[String]) -> io::Result<()> {
    die_with_parent();
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "this command is for `zc lab` alone");
    let (what, rest) = words.split_first().ok_or_else(wrong)?;
    let number = |index: usize| rest.get(index).and_then(|word| word.parse::<u64>().ok());
    let descriptor = |index| number(index).and_then(|number| RawFd::try_from(number).ok());
    match what.as_str() {
        "receive" => stream::receive(),
        "receive-veth" => veth::receive(),
        "peek" => workloads::peek(number(0).ok_or_else(wrong)?),
        "all" | "step" => {
            let read = || {
                let files =
                    Files { source: descriptor(2)?, destination: descriptor(3)?, told: descriptor(4)? };
                Some((number(0)?, number(1)? == 1, files))
            };
            let (size, traced, files) = read().ok_or_else(wrong)?;
            let names = rest.get(5..).unwrap_or_default();
            if what == "all" {
                let rows: Vec<_> = names.iter().filter_map(|name| rows::find(name)).collect();
                all(&rows, size, traced, files)
            } else {
                let step = names.first().and_then(|tag| Step::of(tag)).ok_or_else(wrong)?;
                one(&step, size, traced, files)
            }
        }
        _ => Err(wrong()),
    }
}

/// What `zc lab` starts must not outlive it, however it ends. A parent that died before this call is noticed by the
/// first worker at its next line, as nobody reads the pipe any more.
fn die_with_parent() {
    // SAFETY: takes no pointers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Prepares each step and runs it in a process of its own.
fn all(rows: &[&'static rows::Row], size: u64, traced: bool, files: Files) -> io::Result<()> {
    // Programs at the same addresses start with the same number of page faults.
    // SAFETY: takes no pointers.
    unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
    for step in plan::steps(rows, size, traced) {
        let tag = step.tag();
        match step.case.cache {
            Cache::Cold => cache::drop_all(files.source, size)?,
            Cache::Warm => cache::fill(files.source, size)?,
            Cache::Asis => {}
        }
        let (resident, pages) = cache::resident(files.source, size)?;
        tell(files, &Told::Begins { step: tag.clone(), resident, pages })?;
        let words = common(size, traced, files);
        let status = Command::new("/proc/self/exe").arg(NAME).arg("step").args(words).arg(&tag).status();
        let failed = match status {
            Ok(status) if status.success() => continue,
            Ok(status) => format!("its process ended with {status}"),
            Err(error) => format!("cannot start a process: {error}"),
        };
        tell(files, &Told::Skipped { step: tag, why: failed })?;
    }
    Ok(())
}

/// Does one step. That it cannot be done here is an answer too.
fn one(step: &Step, size: u64, traced: bool, files: Files) -> io::Result<()> {
    let context = Context {
        planned: step.transfers,
        transfers: if step.idle { 0 } else { step.transfers },
        size,
        source: files.source,
        destination: files.destination,
        repeats: step.repeats(traced),
    };
    let step = step.tag();
    let told = match workloads::run(&context, Step::of(&step).map(|step| step.case.work)) {
        Ok(workloads::Done { bytes, nanoseconds, facts }) => Told::Done {
            step,
            bytes,
            nanoseconds,
            facts: facts
                .into_iter()
                .map(|(name, count)| (name.to_owned(), count))
                .collect::<BTreeMap<_, _>>(),
        },
        Err(error) => Told::Skipped { step, why: error.to_string() },
    };
    tell(files, &told)
}

/// One write: lines of two processes never mix (`PIPE_BUF`).
fn tell(files: Files, told: &Told) -> io::Result<()> {
    let mut line = serde_json::to_vec(told)?;
    line.push(b'\n');
    // SAFETY: the descriptor was inherited for this, and is not closed here.
    let mut pipe = std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(files.told) });
    pipe.write_all(&line)
}
