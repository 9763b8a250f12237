//! A command that is held before its exec until everything is ready to trace it.

use std::{
    ffi::{CString, OsString},
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::OsStringExt as _,
    },
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::{
        signal::{SigHandler, SigSet, SigmaskHow, Signal, kill, signal, sigprocmask},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork, pipe2},
};

/// Why a command did not start.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// An argument holds a NUL byte.
    #[error("the argument {0:?} holds a NUL byte, which no command can be given")]
    Nul(OsString),
    /// No process, or no pipe to hold it by.
    #[error("cannot make a process for the command: {0}")]
    Process(#[from] Errno),
    /// The pipe to the held process broke.
    #[error("cannot speak with the held process: {0}")]
    Pipe(#[from] io::Error),
    /// exec failed.
    #[error("cannot run `{command}`: {}", .errno.desc())]
    Exec {
        /// The command.
        command: String,
        /// Why.
        errno: Errno,
    },
}

impl ChildError {
    /// The exit code that shells give: 127 when the command was not found, 126 when it cannot be run; 125 when
    /// it never came to that.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Exec { errno: Errno::ENOENT, .. } => 127,
            Self::Exec { .. } => 126,
            _ => 125,
        }
    }
}

/// A process that waits to become the command.
///
/// When this is dropped, or the whole of zc dies, before [`Self::release`], the process ends without running
/// anything.
pub struct HeldChild {
    pid: Pid,
    command: String,
    /// One byte lets it go, the end of the pipe ends it.
    go: File,
    /// Closed by a successful exec; else the error number.
    status: File,
}

impl HeldChild {
    /// Makes the process. `mask` is the signal mask that the command shall begin with.
    ///
    /// Must be called while this process has one thread only: between fork and exec, others could have left
    /// locks behind.
    pub fn fork(command: &[OsString], mask: &SigSet) -> Result<Self, ChildError> {
        let arguments = command
            .iter()
            .map(|argument| {
                CString::new(argument.clone().into_vec()).map_err(|_| ChildError::Nul(argument.clone()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let (hold, go) = pipe2(OFlag::O_CLOEXEC)?;
        let (status, report) = pipe2(OFlag::O_CLOEXEC)?;
        // SAFETY: there is one thread, and `become_command` only makes system calls.
        match unsafe { fork() }? {
            ForkResult::Child => {
                drop((go, status));
                become_command(&arguments, &hold, &report, mask)
            }
            ForkResult::Parent { child } => Ok(Self {
                pid: child,
                command: command.first().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
                go: go.into(),
                status: status.into(),
            }),
        }
    }

    /// The process, in the PID namespace of zc.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Lets the process become the command.
    pub fn release(mut self) -> Result<Child, ChildError> {
        self.go.write_all(&[1])?;
        let mut errno = Vec::new();
        self.status.read_to_end(&mut errno)?;
        let child = Child { pid: self.pid };
        let Ok(errno) = <[u8; 4]>::try_from(errno) else { return Ok(child) };
        let _ = waitpid(self.pid, None);
        Err(ChildError::Exec { command: self.command, errno: Errno::from_raw(i32::from_ne_bytes(errno)) })
    }
}

/// The command.
pub struct Child {
    pid: Pid,
}

impl Child {
    /// The exit code, once the command has ended: its own, or 128 + n after signal n.
    pub fn exit_code(&self) -> Option<u8> {
        match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => Some(code.to_le_bytes()[0]),
            Ok(WaitStatus::Signaled(_, signal, _)) => Some((128 + signal as i32).to_le_bytes()[0]),
            _ => None,
        }
    }

    /// Passes a signal on.
    pub fn signal(&self, signal: Signal) {
        // It may just have ended.
        let _ = kill(self.pid, signal);
    }
}

/// The way from fork to exec. Allocates nothing.
fn become_command(arguments: &[CString], hold: &OwnedFd, report: &OwnedFd, mask: &SigSet) -> ! {
    let mut byte = [0_u8];
    let released = loop {
        match nix::unistd::read(hold, &mut byte) {
            Err(Errno::EINTR) => {}
            result => break result == Ok(1),
        }
    };
    if !released {
        exit(125);
    }
    // Rust's runtime ignores SIGPIPE, and exec would hand that on.
    // SAFETY: sets a default.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(mask), None);
    let errno = match arguments.first() {
        Some(name) => match nix::unistd::execvp(name, arguments) {
            Ok(never) => match never {},
            Err(errno) => errno,
        },
        None => Errno::ENOENT,
    };
    let bytes = (errno as i32).to_ne_bytes();
    // SAFETY: writes from a valid buffer.
    unsafe { libc::write(report.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    exit(127)
}

/// Ends this process without running anything that belongs to the one it was forked from.
fn exit(code: i32) -> ! {
    // SAFETY: has no preconditions.
    unsafe { libc::_exit(code) }
}
