//! Tracing processes that run already.
//!
//! They are named by descriptors (`pidfd_open`, Linux 5.3): as long as such a process has not ended, its id is no other's. The kernel side
//! is in `zc_common::attach`: a walk finds out what they are called in the initial PID namespace, where an id and a start name a
//! process for good, and from there on nothing goes by the id that was given.

use std::{
    io::{self, Read as _},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use aya::{
    maps::{Array, HashMap, MapData, MapError},
    programs::{Iter, Program, ProgramError},
};
use zc_common::attach::{
    BEGUN, ENDED, FOUND, KERNEL_THREAD, NO_ROOM, TRACED_BEFORE, WALK_KIND, WANTED, WANTED_MAX, Walk, Wanted,
};

use super::{load::chain, session::Session};

/// The program on it.
const PROGRAM: &str = "zc_attach";

/// Why a process cannot be traced.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// There is none of this id.
    #[error("there is no process {pid}")]
    NoProcess {
        /// The id.
        pid: u32,
    },
    /// The id is that of a thread other than the first of its process.
    #[error("{pid} is no process, but a thread of one; name the process (`Tgid` in /proc/{pid}/status)")]
    Thread {
        /// The id.
        pid: u32,
    },
    /// It is one of the kernel's own.
    #[error("{pid} is a thread of the kernel, which makes no system calls")]
    Kernel {
        /// The id.
        pid: u32,
    },
    /// It is zc.
    #[error("{pid} is zc itself, which does not trace itself")]
    Own {
        /// The id.
        pid: u32,
    },
    /// It has ended, waited for by its parent or not.
    #[error("process {pid} has ended")]
    Ended {
        /// The id.
        pid: u32,
    },
    /// No room for its state.
    #[error("there is no room for process {pid}; raise --threads-max")]
    NoRoom {
        /// The id.
        pid: u32,
    },
    /// The kernel gives no descriptor of it.
    #[error("cannot name process {pid}: {source}")]
    Unnamed {
        /// The id.
        pid: u32,
        /// What the system said.
        source: io::Error,
    },
    /// The program that finds processes did not run.
    #[error("cannot go over the processes of this machine: {0}")]
    Walk(String),
    /// A map cannot be used.
    #[error("cannot tell the kernel side which processes are meant: {0}")]
    Map(#[from] MapError),
}

/// A process that runs, or has run when it was named: its id is not used again before it has ended.
#[derive(Debug)]
pub struct Running {
    pid: u32,
    fd: OwnedFd,
}

impl Running {
    /// Names the process that has this id in the caller's PID namespace.
    pub fn open(pid: u32) -> Result<Self, AttachError> {
        if pid == std::process::id() {
            return Err(AttachError::Own { pid });
        }
        // To the kernel these are no ids at all.
        if pid == 0 || i32::try_from(pid).is_err() {
            return Err(AttachError::NoProcess { pid });
        }
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if let Ok(fd) = i32::try_from(fd)
            && fd >= 0
        {
            // SAFETY: a new descriptor, which nobody else has.
            return Ok(Self { pid, fd: unsafe { OwnedFd::from_raw_fd(fd) } });
        }
        let source = io::Error::last_os_error();
        Err(match source.raw_os_error() {
            Some(libc::ESRCH) => AttachError::NoProcess { pid },
            // Newer kernels say the latter.
            Some(libc::EINVAL | libc::ENOENT) => AttachError::Thread { pid },
            _ => AttachError::Unnamed { pid, source },
        })
    }

    /// The id by which it was named.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether all of its threads have ended, waited for or not.
    pub fn has_ended(&self) -> bool {
        let mut wanted = libc::pollfd { fd: self.fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid entry.
        unsafe { libc::poll(&raw mut wanted, 1, 0) > 0 }
    }
}

/// A process that is traced from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The id by which it was named.
    pub pid: u32,
    /// Its id in the initial PID namespace, by which reports call it.
    pub tgid: u32,
    /// `start_boottime` of its first thread, in nanoseconds.
    pub start_ns: u64,
    /// How many threads it had that were not traced before.
    pub threads: u64,
}

impl Session {
    /// Traces processes that run already, with all their threads, from now on; and the children that they make from now on, if the session
    /// follows children. May be called again for further ones: a process that is traced is left as it is.
    ///
    /// The session has to have been started with `attaches`. The inner errors are about one process each; after an outer one, some
    /// of the processes may be traced.
    pub fn attach(
        &mut self,
        processes: &[Running],
    ) -> Result<Vec<Result<Attached, AttachError>>, AttachError> {
        let mut attached = Vec::with_capacity(processes.len());
        for some in processes.chunks(WANTED_MAX as usize) {
            attached.extend(self.attach_some(some)?);
        }
        Ok(attached)
    }

    fn attach_some(
        &mut self,
        processes: &[Running],
    ) -> Result<Vec<Result<Attached, AttachError>>, AttachError> {
        let wanted: Vec<_> = processes.iter().map(|process| (process.pid, Wanted::default())).collect();
        let found = self.walk_for(&wanted, &[Walk::Find])?;
        // One that has not ended by now had its id all the time.
        let known: Vec<_> = processes
            .iter()
            .zip(&found)
            .map(|(process, found)| known(process.pid, found, process.has_ended()))
            .collect();
        let wanted: Vec<_> = known.iter().flatten().map(|wanted| (wanted.tgid, *wanted)).collect();
        let mut begun = self.walk_for(&wanted, &[Walk::Begin, Walk::Threads])?.into_iter();
        let result = |(process, known): (&Running, Result<Wanted, AttachError>)| {
            known.and_then(|_| attached(process.pid, begun.next().unwrap_or_default()))
        };
        Ok(processes.iter().zip(known).map(result).collect())
    }

    /// Has walks done for these processes; returns what has become of each.
    fn walk_for(&mut self, wanted: &[(u32, Wanted)], walks: &[Walk]) -> Result<Vec<Wanted>, AttachError> {
        let mut map = self.wanted()?;
        for (key, value) in wanted {
            map.insert(key, value, 0)?;
        }
        let walked = walks.iter().try_for_each(|&walk| self.walk(walk));
        let mut map = self.wanted()?;
        let became = wanted.iter().map(|(key, _)| map.get(key, 0)).collect::<Result<_, _>>();
        for (key, _) in wanted {
            // Two that were wanted may be one process.
            let _ = map.remove(key);
        }
        walked?;
        Ok(became?)
    }

    fn wanted(&mut self) -> Result<HashMap<&mut MapData, u32, Wanted>, MapError> {
        HashMap::try_from(self.ebpf.map_mut(WANTED).ok_or_else(|| no_map(WANTED))?)
    }

    fn set_walk(&mut self, walk: Walk) -> Result<(), MapError> {
        let map = self.ebpf.map_mut(WALK_KIND).ok_or_else(|| no_map(WALK_KIND))?;
        Array::<_, u64>::try_from(map)?.set(0, walk as u64, 0)
    }

    /// Goes over all tasks once.
    fn walk(&mut self, walk: Walk) -> Result<(), AttachError> {
        self.set_walk(walk)?;
        let walked = self.read_all();
        self.set_walk(Walk::None)?;
        walked
    }

    fn read_all(&mut self) -> Result<(), AttachError> {
        let refused = |error: &dyn std::error::Error| AttachError::Walk(chain(error));
        let program = self.ebpf.program_mut(PROGRAM);
        let program: Result<&mut Iter, ProgramError> = match program {
            Some(program @ Program::Iter(_)) => program.try_into(),
            _ => Err(ProgramError::InvalidName { name: PROGRAM.to_owned() }),
        };
        let program = program.map_err(|error| refused(&error))?;
        let link = program.attach().map_err(|error| refused(&error))?;
        let link = program.take_link(link).map_err(|error| refused(&error))?;
        let mut file = link.into_file().map_err(|error| refused(&error))?;
        let mut nothing = [0_u8; 64];
        loop {
            match file.read(&mut nothing) {
                Ok(0) => return Ok(()),
                // It writes nothing. After a million tasks, the kernel asks to be asked again.
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(refused(&error)),
            }
        }
    }
}

/// What a walk has found out about a process.
fn known(pid: u32, found: &Wanted, has_ended: bool) -> Result<Wanted, AttachError> {
    let Wanted { state, tgid, start_ns, .. } = *found;
    if has_ended || state & FOUND == 0 {
        return Err(AttachError::Ended { pid });
    }
    if state & KERNEL_THREAD != 0 {
        return Err(AttachError::Kernel { pid });
    }
    Ok(Wanted { tgid, start_ns, ..Wanted::default() })
}

/// What has become of it.
fn attached(pid: u32, wanted: Wanted) -> Result<Attached, AttachError> {
    let Wanted { state, tgid, start_ns, threads } = wanted;
    if state & NO_ROOM != 0 {
        return Err(AttachError::NoRoom { pid });
    }
    if state & ENDED != 0 || state & (BEGUN | TRACED_BEFORE) == 0 {
        return Err(AttachError::Ended { pid });
    }
    Ok(Attached { pid, tgid, start_ns, threads })
}

fn no_map(name: &str) -> MapError {
    MapError::InvalidName { name: name.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn found(state: u32) -> Wanted {
        Wanted { start_ns: 9, tgid: 7, state, threads: 3 }
    }

    #[test]
    fn only_a_process_that_has_not_ended_is_known_by_its_id() {
        assert_eq!(
            known(5, &found(FOUND), false).unwrap(),
            Wanted { start_ns: 9, tgid: 7, state: 0, threads: 0 }
        );
        assert!(matches!(known(5, &found(FOUND), true), Err(AttachError::Ended { pid: 5 })));
        assert!(matches!(known(5, &found(0), false), Err(AttachError::Ended { pid: 5 })));
        assert!(matches!(
            known(5, &found(FOUND | KERNEL_THREAD), false),
            Err(AttachError::Kernel { pid: 5 })
        ));
    }

    #[test]
    fn a_process_is_attached_when_it_was_begun_and_lives() {
        let is = Attached { pid: 5, tgid: 7, start_ns: 9, threads: 3 };
        assert_eq!(attached(5, found(BEGUN)).unwrap(), is);
        assert_eq!(attached(5, found(TRACED_BEFORE)).unwrap(), is);
        for state in [0, BEGUN | ENDED] {
            assert!(matches!(attached(5, found(state)), Err(AttachError::Ended { .. })), "{state}");
        }
        assert!(matches!(attached(5, found(NO_ROOM)), Err(AttachError::NoRoom { .. })));
    }

    #[test]
    fn a_process_is_named_until_it_has_ended() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().expect("a process");
        let running = Running::open(child.id()).expect("its descriptor");
        assert!(running.pid() == child.id() && !running.has_ended());
        drop(child.stdin.take());
        // It is not waited for: what has ended may still have its id.
        while !running.has_ended() {
            std::thread::yield_now();
        }
        assert!(Running::open(child.id()).expect("a descriptor of what is left").has_ended());
        child.wait().expect("its end");
        assert!(matches!(Running::open(child.id()), Err(AttachError::NoProcess { .. })));
    }

    #[test]
    fn what_is_no_other_process_is_refused() {
        let own = std::process::id();
        assert!(matches!(Running::open(own), Err(AttachError::Own { .. })));
        assert!(matches!(Running::open(0), Err(AttachError::NoProcess { pid: 0 })));
        assert!(matches!(Running::open(u32::MAX), Err(AttachError::NoProcess { .. })));
        // Tests run in threads of their own.
        // SAFETY: always succeeds.
        let thread = unsafe { libc::gettid() }.unsigned_abs();
        assert!(thread == own || matches!(Running::open(thread), Err(AttachError::Thread { .. })));
    }
}
