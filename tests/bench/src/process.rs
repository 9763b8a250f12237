//! Child processes that end when the benchmark ends, however it ends.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    os::{
        fd::AsRawFd as _,
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// Longer than any child takes, on a machine that also does other things.
const PATIENCE: Duration = Duration::from_secs(120);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Somebody wants the benchmark to end.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

extern "C" fn note_signal(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Makes SIGINT, SIGTERM and SIGHUP end the benchmark by way of an error, so that everything is cleaned up.
pub(crate) fn catch_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: all of the structure is set; the handler only writes to an atomic. Without SA_RESTART, a
        // wait under way ends with EINTR.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            let handler: extern "C" fn(libc::c_int) = note_signal;
            action.sa_sigaction = handler as libc::sighandler_t;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

/// Fails when somebody wants the benchmark to end.
pub(crate) fn check_interrupt() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err(Interrupted.into()) } else { Ok(()) }
}

/// A running child and everything that it started: killed as a process group when dropped.
pub(crate) struct Running {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    said: Vec<u8>,
    stderr: File,
    ended: bool,
}

impl Running {
    /// Starts it, with a pipe to its standard input when it has to be told to end.
    pub(crate) fn start(mut command: Command, with_input: bool) -> Result<Self> {
        check_interrupt()?;
        let name = command.get_program().to_string_lossy().into_owned();
        let stderr = tempfile::tempfile().context("a file for messages")?;
        let stdin = if with_input { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(stderr.try_clone()?).process_group(0);
        // SAFETY: makes one system call, which fails for nobody.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let mut child = command.spawn().with_context(|| format!("start {name}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("the child has no output")?;
        Ok(Self { name, child, stdin, stdout, said: Vec::new(), stderr, ended: false })
    }

    /// Waits until its output has a line that holds `text`, and returns that line.
    pub(crate) fn wait_for_line(&mut self, text: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = String::from_utf8_lossy(&self.said);
            let mut complete = said.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            if let Some(line) = complete.find(|line| line.contains(text)) {
                return Ok(line.to_owned());
            }
            if !self.read_more(deadline)? {
                bail!("{} ended without having said {text:?}: {}", self.name, self.messages());
            }
        }
    }

    /// Ends its standard input, waits for its end and returns its output; its failure is an error.
    pub(crate) fn finish(mut self) -> Result<String> {
        drop(self.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        while self.read_more(deadline)? {}
        let status = self.child.wait().with_context(|| format!("wait for {}", self.name))?;
        self.ended = true;
        if !status.success() {
            let how = match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit code {code}"),
                (None, signal) => format!("signal {}", signal.unwrap_or(0)),
            };
            bail!("{} failed ({how}): {}", self.name, self.messages());
        }
        Ok(String::from_utf8_lossy(&self.said).into_owned())
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself, as it should not have.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        check_interrupt()?;
        Ok(self.child.try_wait().with_context(|| format!("look after {}", self.name))?.is_some())
    }

    /// Reads some output; false at its end.
    fn read_more(&mut self, deadline: Instant) -> Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut poll = libc::pollfd { fd: self.stdout.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let timeout = libc::c_int::try_from(left.as_millis()).unwrap_or(libc::c_int::MAX);
        // SAFETY: one valid entry.
        let ready = unsafe { libc::poll(&raw mut poll, 1, timeout) };
        check_interrupt()?;
        match ready {
            0 => bail!("{} hangs: {}", self.name, self.messages()),
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(true),
                error => Err(error).context("wait for output"),
            },
            _ => {
                let mut piece = [0; 4096];
                let len = self.stdout.read(&mut piece).with_context(|| format!("read from {}", self.name))?;
                self.said.extend_from_slice(&piece[..len]);
                Ok(len > 0)
            }
        }
    }

    /// The last lines of what it wrote to its standard error.
    fn messages(&self) -> String {
        const LINES: usize = 4;
        let mut text = String::new();
        let mut stderr = &self.stderr;
        let read = stderr.rewind().and_then(|()| stderr.read_to_string(&mut text));
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match read {
            Ok(_) if lines.is_empty() => "no message".to_owned(),
            Ok(_) => lines[lines.len().saturating_sub(LINES)..].join(" / "),
            Err(error) => format!("its messages cannot be read: {error}"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            let group = libc::pid_t::try_from(self.child.id()).unwrap_or(libc::pid_t::MAX);
            // SAFETY: the group was made by `start`, and its leader was not waited for yet.
            unsafe { libc::killpg(group, libc::SIGKILL) };
            drop(self.child.wait());
        }
    }
}

/// Runs a command to its end and returns its output.
pub(crate) fn output(command: Command) -> Result<String> {
    Running::start(command, false)?.finish()
}
