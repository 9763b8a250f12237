//! Starts the workers, traced and then only timed, and gathers what they and the kernel say.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::sys::{
    signal::{SigSet, SigmaskHow, Signal, sigprocmask},
    signalfd::{SfdFlags, SignalFd},
};

use super::{
    answer::{Answer, Findings, Tale, Workload},
    measure::Names,
    plan,
    rows::Row,
    tell,
    worker::{self, Files},
};
use crate::{
    child::{Child, ChildError, HeldChild},
    collect::collector::Collector,
    model::{
        account,
        report::{Report, Tool},
    },
    probe::session::{Options, Session, SessionError, Sizes},
};

/// How often the kernel's ring buffer is emptied.
const TICK_MS: i32 = 20;
/// How long the last process may take to leave its processor.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The rows.
    pub rows: Vec<&'static Row>,
    /// Bytes of the file.
    pub size: u64,
    /// Where the files are made.
    pub directory: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Nothing can be traced.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The workers cannot be started.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// The files cannot be made.
    #[error("cannot make the lab's files in {directory}: {error}; choose another directory with --dir")]
    Files {
        /// Where.
        directory: String,
        /// Why.
        error: io::Error,
    },
    /// Somebody wants it to end.
    #[error("interrupted")]
    Interrupted(Signal),
    /// The first worker failed.
    #[error("the workers ended early (exit code {0})")]
    Worker(u8),
    /// Everything else.
    #[error("cannot {what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        error: io::Error,
    },
}

fn cannot<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> LabError {
    move |error| LabError::System { what, error: error.into() }
}

/// Runs the rows. `progress` is told which step begins, of how many.
pub fn run(wanted: &Wanted, progress: &mut dyn FnMut(usize, usize, &str)) -> Result<Answer, LabError> {
    let signals = Signals::block()?;
    let files = LabFiles::make(&wanted.directory, wanted.size)
        .map_err(|error| LabError::Files { directory: wanted.directory.display().to_string(), error })?;
    let counts = [true, false].map(|traced| plan::steps(&wanted.rows, wanted.size, traced).len());
    let mut shown = |done: usize, step: &str| progress(done, counts[0] + counts[1], step);
    let mut lab = Lab { wanted, signals: &signals, files: &files };
    let (traced, report) = lab.phase(true, &mut |begun, step| shown(begun, step))?;
    let (timed, _) = lab.phase(false, &mut |begun, step| shown(counts[0] + begun, step))?;
    let report =
        report.ok_or_else(|| cannot("read the kernel's maps")(io::Error::from(io::ErrorKind::NotFound)))?;
    let findings = Findings {
        rows: &wanted.rows,
        size: wanted.size,
        names: &files.names,
        report: &report,
        traced: &traced,
        timed: &timed,
    };
    Ok(findings.answer(Workload::new(wanted.size, wanted.directory.display().to_string(), files.file_system)))
}

struct Lab<'a> {
    wanted: &'a Wanted,
    signals: &'a Signals,
    files: &'a LabFiles,
}

impl Lab<'_> {
    /// All steps once. The report is there when they were traced.
    fn phase(
        &mut self,
        traced: bool,
        progress: &mut dyn FnMut(usize, &str),
    ) -> Result<(Tale, Option<Report>), LabError> {
        let (told, tell) = pipe()?;
        let inherited = Files {
            source: self.files.source.as_raw_fd(),
            destination: self.files.destination.as_raw_fd(),
            told: tell.as_raw_fd(),
        };
        let command = worker::command(&self.wanted.rows, self.wanted.size, traced, inherited);
        let held = HeldChild::fork(&command, &self.signals.before)?;
        drop(tell);
        let mut collector = if traced { Some(collector(held.pid().as_raw().unsigned_abs())?) } else { None };
        let mut running = Running { child: held.release()?, ended: None };
        let mut tale = Tale::default();
        let mut lines = Vec::new();
        let mut open = true;
        while open || running.ended.is_none() {
            if let Some(signal) = self.wait(open.then_some(&told), collector.as_ref())? {
                return Err(LabError::Interrupted(signal));
            }
            if let Some(collector) = &mut collector {
                collector.drain();
            }
            open &= read_some(&told, &mut lines).map_err(cannot("hear the workers"))?;
            for line in tell::lines(&mut lines) {
                if let tell::Told::Begins { step, .. } = &line {
                    progress(tale.begun(), step);
                }
                tale.add(line);
            }
            running.look();
        }
        // What ended the workers may be on its way to us too.
        if let Some(signal) = self.signals.ending().map_err(cannot("read signals"))? {
            return Err(LabError::Interrupted(signal));
        }
        match running.ended {
            Some(0) | None => {}
            Some(code) => return Err(LabError::Worker(code)),
        }
        let report = collector.map(finish).transpose()?;
        Ok((tale, report))
    }

    /// Until something is there to do; the signal, when somebody wants us to end.
    fn wait(
        &self,
        told: Option<&OwnedFd>,
        collector: Option<&Collector>,
    ) -> Result<Option<Signal>, LabError> {
        let entry = |fd: RawFd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // A negative descriptor is passed over.
        let mut wanted = [
            entry(self.signals.fd.as_raw_fd()),
            entry(told.map_or(-1, OwnedFd::as_raw_fd)),
            entry(collector.map_or(-1, |collector| collector.as_fd().as_raw_fd())),
        ];
        // SAFETY: three valid entries.
        unsafe { libc::poll(wanted.as_mut_ptr(), 3, TICK_MS) };
        self.signals.ending().map_err(cannot("read signals"))
    }
}

fn collector(root_pid: u32) -> Result<Collector, LabError> {
    let options = Options {
        follow: true,
        count_calls: true,
        count_faults: true,
        root_pid,
        attaches: false,
        self_stats: false,
        connections_one_in: 1,
        sizes: Sizes::default(),
    };
    let session = Session::start(&options)?;
    Collector::new(session, options)
        .map_err(|error| cannot("read the kernel's maps")(io::Error::other(error)))
}

/// Waits for the last process to be accounted for.
fn finish(mut collector: Collector) -> Result<Report, LabError> {
    let since = Instant::now();
    loop {
        collector.drain();
        if collector.alive() == 0 || since.elapsed() > PATIENCE {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let samples =
        collector.finish().map_err(|error| cannot("read the kernel's maps")(io::Error::other(error)))?;
    Ok(account::account(&samples, Tool::this()))
}

/// The first worker: killed when this is dropped before its end, and all other workers with it.
struct Running {
    child: Child,
    ended: Option<u8>,
}

impl Running {
    fn look(&mut self) {
        self.ended = self.ended.or_else(|| self.child.exit_code());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.child.signal(Signal::SIGKILL);
            while self.child.exit_code().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Signals that end us come through a descriptor, so that everything is put away first.
struct Signals {
    fd: SignalFd,
    before: SigSet,
}

impl Signals {
    fn block() -> Result<Self, LabError> {
        let mut before = SigSet::empty();
        let ours: SigSet =
            [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD]
                .into_iter()
                .collect();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&ours), Some(&mut before))
            .map_err(cannot("block signals"))?;
        let fd = SignalFd::with_flags(&ours, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(cannot("receive signals"))?;
        Ok(Self { fd, before })
    }

    fn ending(&self) -> io::Result<Option<Signal>> {
        while let Some(info) = self.fd.read_signal()? {
            let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
            if signal.is_some_and(|signal| signal != Signal::SIGCHLD) {
                return Ok(signal);
            }
        }
        Ok(None)
    }
}

/// The end that is read never blocks; the other one is inherited.
fn pipe() -> Result<(OwnedFd, OwnedFd), LabError> {
    let mut ends = [0; 2];
    // SAFETY: there is room for both.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(cannot("make a pipe")(io::Error::last_os_error()));
    }
    // SAFETY: they were just made and nobody else has them.
    let (read, write) = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    // SAFETY: take no pointers.
    unsafe {
        libc::fcntl(read.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK);
        libc::fcntl(write.as_raw_fd(), libc::F_SETFD, 0);
    }
    Ok((read, write))
}

/// Takes in what is there; false when nobody will write any more.
fn read_some(from: &OwnedFd, into: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    loop {
        match nix::unistd::read(from.as_fd(), &mut buffer) {
            Ok(0) => return Ok(false),
            Ok(got) => into.extend(&buffer[..got]),
            Err(nix::errno::Errno::EAGAIN) => return Ok(true),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The lab's files. They lose their names at once, so that nothing is left of them however the lab ends.
struct LabFiles {
    source: File,
    destination: File,
    names: Names,
    file_system: String,
}

impl LabFiles {
    fn make(directory: &Path, size: u64) -> io::Result<Self> {
        let directory = fs::canonicalize(directory)?;
        let (mut source, source_name) = nameless(&directory, "source")?;
        let (destination, destination_name) = nameless(&directory, "destination")?;
        fill(&mut source, size)?;
        let file_system = nix::sys::statfs::fstatfs(&source)
            .map_or_else(|_| "unknown".to_owned(), |found| name(found.filesystem_type().0));
        Ok(Self {
            source,
            destination,
            names: Names { source: source_name, destination: destination_name },
            file_system,
        })
    }
}

/// A new file without a directory entry, and the name that it had. Workers inherit the descriptor.
fn nameless(directory: &Path, what: &str) -> io::Result<(File, String)> {
    let path = directory.join(format!("zc-lab-{}-{what}.bin", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    // SAFETY: takes no pointers.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) };
    Ok((file, path.display().to_string()))
}

/// Content that neither compresses nor repeats (xorshift).
fn fill(file: &mut File, size: u64) -> io::Result<()> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut left = size;
    let mut block = vec![0_u8; 1 << 20];
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_ne_bytes());
        }
        let len = left.min(block.len() as u64);
        file.write_all(&block[..usize::try_from(len).unwrap_or(block.len())])?;
        left -= len;
    }
    Ok(())
}

/// The names of file systems that people meet (`include/uapi/linux/magic.h`); else the number.
fn name(magic: libc::__fsword_t) -> String {
    match magic {
        0xEF53 => "ext4".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683E => "btrfs".to_owned(),
        0x0102_1994 => "tmpfs".to_owned(),
        0x794C_7630 => "overlay".to_owned(),
        0x2FC1_2FC1 => "zfs".to_owned(),
        0x6969 => "nfs".to_owned(),
        0xF2F5_2010 => "f2fs".to_owned(),
        other => format!("{other:#x}"),
    }
}
