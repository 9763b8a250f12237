//! What the rows do. Each workload prepares, then makes its transfers; an idle run prepares only, so that the difference
//! of the two is what the transfers cost.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd as _, RawFd},
    time::Instant,
};

use super::rows::{CHUNK_BYTES, Work};

mod appends;
pub(super) mod cache;
mod files;
mod maps;
mod pipes;
mod ring;
mod rings;
pub(super) mod stream;
mod sys;
pub(super) mod veth;
mod zerocopy;

pub(super) use maps::peek;

/// What a workload is given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// Transfers to prepare for.
    pub(super) planned: u64,
    /// Transfers to make: as many, or none.
    pub(super) transfers: u64,
    /// Bytes of the source file.
    pub(super) size: u64,
    pub(super) source: RawFd,
    pub(super) destination: RawFd,
    /// How often to do it over, where the best time counts.
    pub(super) repeats: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    pub(super) bytes: u64,
    pub(super) nanoseconds: u64,
    pub(super) facts: Vec<(&'static str, u64)>,
}

/// Does the work.
pub(super) fn run(context: &Context, work: Option<Work>) -> io::Result<Done> {
    let Some(work) = work else { return Err(io::Error::from(io::ErrorKind::InvalidInput)) };
    match work {
        Work::ReadWrite => files::read_write(context),
        Work::MmapWrite => files::mmap_write(context),
        Work::Sendfile => files::sendfile(context, stream::loopback()?),
        Work::SendfileWithoutSg => files::sendfile(context, veth::without_scatter_gather()?),
        Work::CopyFileRange => files::copy_file_range(context),
        Work::DirectRead => files::direct_read(context),
        Work::ReadPage(page) => files::read_page(context, page),
        Work::Splice => pipes::splice(context),
        Work::Tee => pipes::tee(context),
        Work::Vmsplice => pipes::vmsplice(context),
        Work::SendZerocopy => zerocopy::send(context),
        Work::RingRead => rings::read(context),
        Work::RingSend => rings::send(context),
        Work::MmapRead => maps::read(context),
        Work::MapOnly => maps::map_only(context),
        Work::TouchAnonymous => maps::anonymous(context),
        Work::TouchCached => maps::file(context, false),
        Work::TouchUncached => maps::file(context, true),
        Work::CopyOnWrite => maps::copy_on_write(context),
        Work::ShareMapping => maps::share(context),
        Work::AppendByWrite => appends::by_write(context),
        Work::AppendByMapping => appends::by_mapping(context),
        Work::Getppid => Ok(getppid(context)),
        Work::Spin => Ok(spin(context)),
    }
}

impl Context {
    /// Offset and length of each transfer; the last one is what is left.
    fn chunks(&self) -> impl Iterator<Item = (u64, usize)> + use<> {
        let size = self.size;
        (0..self.transfers).map(move |index| {
            let offset = index * CHUNK_BYTES;
            let len = CHUNK_BYTES.min(size.saturating_sub(offset));
            (offset, usize::try_from(len).unwrap_or(0))
        })
    }

    /// The source file, opened anew: with a position of its own.
    fn source(&self) -> io::Result<File> {
        File::open(path(self.source))
    }

    /// The destination file, opened anew and empty.
    fn destination(&self) -> io::Result<File> {
        File::options().read(true).write(true).truncate(true).open(path(self.destination))
    }
}

/// A name by which an inherited descriptor's file can be opened, though it has no directory entry.
fn path(fd: RawFd) -> String {
    format!("/proc/self/fd/{fd}")
}

/// Runs the transfers and measures the time that they take.
fn timed(transfers: impl FnOnce() -> io::Result<u64>) -> io::Result<Done> {
    let start = Instant::now();
    let bytes = transfers()?;
    let nanoseconds = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Ok(Done { bytes, nanoseconds, facts: Vec::new() })
}

fn getppid(context: &Context) -> Done {
    let calls = || {
        for _ in 0..context.transfers {
            // SAFETY: has no preconditions.
            unsafe { libc::syscall(libc::SYS_getppid) };
        }
        Ok(0)
    };
    timed(calls).unwrap_or_default()
}

/// In user mode for 50 ms: long enough for some ticks of the clock.
fn spin(context: &Context) -> Done {
    let start = Instant::now();
    while context.transfers > 0 && start.elapsed().as_millis() < 50 {
        std::hint::spin_loop();
    }
    Done::default()
}

/// A descriptor as system calls want it.
fn raw(fd: &impl std::os::fd::AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}
