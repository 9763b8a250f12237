//! The workloads: loops that do one thing a known number of times.
//!
//! Each runs in a process of its own that does nothing else, in batches of a fraction of a millisecond that are
//! timed one by one: so a batch during which something disturbed can be told from others.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    mem::MaybeUninit,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::{AsRawFd as _, RawFd},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// Bytes of one relay.
pub(crate) const RELAY_BYTES: usize = 4 << 10;
/// Bytes of one sendfile.
pub(crate) const SENDFILE_BYTES: usize = 64 << 10;
/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;
/// Pages of fresh memory that are touched in one go.
pub(crate) const TOUCHED_PAGES: usize = 64;
/// What a process that waits says when it is there.
pub(crate) const READY: &str = "ready";

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Work {
    /// Read one byte of /dev/zero
    Read,
    /// Read 4 KiB of one file and write them to another, in place
    Relay,
    /// Send 64 KiB of a file in memory to a loopback TCP connection
    Sendfile,
    /// Ask for the parent's process id, which no tracer of data looks at
    Getppid,
    /// Map 256 KiB of fresh memory, touch each of its pages and unmap it
    Touch,
    /// Map 64 KiB of a file, touch each of its pages, of which the first fault maps all, and unmap it
    TouchFile,
}

/// A workload as a command.
#[derive(Clone, Debug, Args)]
pub(crate) struct WorkArgs {
    pub(crate) work: Work,
    /// How often it is done between two looks at the clock
    #[arg(long)]
    pub(crate) batch: u32,
    #[arg(long)]
    pub(crate) batches: u32,
    /// Directory of the files `source` and `destination`
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Loopback port of the receiver
    #[arg(long)]
    pub(crate) port: u16,
    /// So many children, which do nothing, are there meanwhile
    #[arg(long, default_value_t = 0)]
    pub(crate) children: u32,
    /// So many descriptors are open meanwhile, or as many as there may be
    #[arg(long, default_value_t = 0)]
    pub(crate) descriptors: u32,
}

/// What a workload did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ran {
    /// How often it was done, the unmeasured beginning included.
    pub(crate) times: u64,
    /// Nanoseconds for one time, of each batch.
    pub(crate) ns: Vec<f64>,
}

/// Does the work and prints what it was.
pub(crate) fn run(args: &WorkArgs) -> Result<()> {
    let WorkArgs { work, batch, batches, ref dir, port, children, descriptors } = *args;
    let _crowd = Crowd::new(children)?;
    let ran = match work {
        Work::Read => {
            let many = open_many(descriptors)?;
            let zero = File::open("/dev/zero").context("open /dev/zero")?;
            let mut byte = 0_u8;
            let ran = time(batch, batches, || read(zero.as_raw_fd(), &mut byte))?;
            drop(many);
            ran
        }
        Work::Relay => {
            let source = File::open(dir.join("source")).context("open the source")?;
            let destination = File::options().write(true).open(dir.join("destination"))?;
            let mut buffer = [0_u8; RELAY_BYTES];
            time(batch, batches, || relay(source.as_raw_fd(), destination.as_raw_fd(), &mut buffer))?
        }
        Work::Sendfile => {
            pin(true)?;
            let source = File::open(dir.join("source")).context("open the source")?;
            let socket =
                TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("connect to the receiver")?;
            time(batch, batches, || sendfile(socket.as_raw_fd(), source.as_raw_fd()))?
        }
        Work::Getppid => time(batch, batches, || {
            // SAFETY: takes nothing.
            unsafe { libc::syscall(libc::SYS_getppid) };
            Ok(())
        })?,
        Work::Touch => time(batch, batches, || touch(None, TOUCHED_PAGES))?,
        Work::TouchFile => {
            let source = File::open(dir.join("source")).context("open the source")?;
            time(batch, batches, || touch(Some(source.as_raw_fd()), SENDFILE_BYTES / PAGE))?
        }
    };
    println!("{}", serde_json::to_string(&ran)?);
    Ok(())
}

/// Does something in batches, after one batch that is not timed.
fn time(batch: u32, batches: u32, mut once: impl FnMut() -> Result<()>) -> Result<Ran> {
    let mut ns = Vec::with_capacity(usize::try_from(batches)?);
    for _ in 0..batch {
        once()?;
    }
    for _ in 0..batches {
        let start = Instant::now();
        for _ in 0..batch {
            once()?;
        }
        ns.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(batch));
    }
    Ok(Ran { times: u64::from(batch) * (u64::from(batches) + 1), ns })
}

fn read(fd: RawFd, byte: &mut u8) -> Result<()> {
    // SAFETY: one byte at a valid address.
    let len = unsafe { libc::syscall(libc::SYS_read, fd, std::ptr::from_mut(byte), 1_usize) };
    ensure!(len == 1, "read: {}", io::Error::last_os_error());
    Ok(())
}

fn relay(from: RawFd, to: RawFd, buffer: &mut [u8; RELAY_BYTES]) -> Result<()> {
    let address = buffer.as_mut_ptr();
    // SAFETY: the buffer has this many bytes.
    let (got, put) = unsafe {
        (
            libc::syscall(libc::SYS_pread64, from, address, RELAY_BYTES, 0_i64),
            libc::syscall(libc::SYS_pwrite64, to, address, RELAY_BYTES, 0_i64),
        )
    };
    let whole = i64::try_from(RELAY_BYTES)?;
    ensure!(got == whole && put == whole, "relay: {}", io::Error::last_os_error());
    Ok(())
}

fn sendfile(to: RawFd, from: RawFd) -> Result<()> {
    let mut offset = 0_i64;
    // SAFETY: the offset is a valid address.
    let sent = unsafe { libc::syscall(libc::SYS_sendfile, to, from, &raw mut offset, SENDFILE_BYTES) };
    ensure!(sent == i64::try_from(SENDFILE_BYTES)?, "sendfile: {sent} {}", io::Error::last_os_error());
    Ok(())
}

/// Maps pages, of a file or of fresh memory, and touches them one by one.
fn touch(file: Option<RawFd>, pages: usize) -> Result<()> {
    let flags = if file.is_some() { libc::MAP_SHARED } else { libc::MAP_PRIVATE | libc::MAP_ANONYMOUS };
    let access = if file.is_some() { libc::PROT_READ } else { libc::PROT_READ | libc::PROT_WRITE };
    let bytes = pages * PAGE;
    // SAFETY: a new mapping, of which nobody else knows; what is touched is within it.
    unsafe {
        let address = libc::mmap(std::ptr::null_mut(), bytes, access, flags, file.unwrap_or(-1), 0);
        ensure!(address != libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
        for page in 0..pages {
            let byte = address.cast::<u8>().add(page * PAGE);
            if file.is_some() {
                byte.read_volatile();
            } else {
                byte.write_volatile(1);
            }
        }
        libc::munmap(address, bytes);
    }
    Ok(())
}

/// Children that do nothing; they end when it is dropped, or this process ends.
struct Crowd(Vec<libc::pid_t>);

impl Crowd {
    fn new(count: u32) -> Result<Self> {
        let mut crowd = Self(Vec::with_capacity(usize::try_from(count)?));
        for _ in 0..count {
            // SAFETY: this process has one thread, and the child makes nothing but these calls.
            let pid = unsafe {
                let pid = libc::fork();
                if pid == 0 {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    libc::pause();
                    libc::_exit(0);
                }
                pid
            };
            ensure!(pid > 0, "fork: {} after {} children", io::Error::last_os_error(), crowd.0.len());
            crowd.0.push(pid);
        }
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for &pid in &self.0 {
            // SAFETY: a child that was not waited for.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        for &pid in &self.0 {
            // SAFETY: as above.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        }
    }
}

/// Opens so many descriptors, or as many as this process may have.
fn open_many(count: u32) -> Result<Vec<File>> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid structure.
    unsafe {
        ensure!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0, "{}", io::Error::last_os_error());
        limit.rlim_cur = limit.rlim_max;
        ensure!(
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0,
            "{}",
            io::Error::last_os_error()
        );
    }
    let most = u32::try_from(limit.rlim_max).unwrap_or(u32::MAX).saturating_sub(64);
    let open = |_| File::open("/dev/zero").context("open /dev/zero");
    (0..count.min(most)).map(open).collect()
}

/// Says that it is there, and waits for the end of its input: a traced process that does nothing, with children of the same sort.
pub(crate) fn wait(children: u32) -> Result<()> {
    let _crowd = Crowd::new(children)?;
    println!("{READY}");
    io::stdout().flush()?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// Prints a port and throws away what arrives there, one connection after the other, until the end of its
/// input.
pub(crate) fn discard() -> Result<()> {
    pin(false)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a loopback port")?;
    println!("{}", listener.local_addr()?.port());
    io::stdout().flush()?;
    std::thread::spawn(|| {
        // Nothing is ever sent; whatever ends this ends the process.
        drop(io::stdin().read(&mut [0]));
        std::process::exit(0);
    });
    loop {
        let (connection, _) = listener.accept()?;
        // With MSG_TRUNC, TCP drops the bytes without copying them.
        // SAFETY: no memory is written to.
        while unsafe {
            libc::recv(connection.as_raw_fd(), std::ptr::null_mut(), 1 << 30, libc::MSG_TRUNC) > 0
        } {}
    }
}

/// Binds this thread to the first or the last processor that it may use: sender and receiver of one
/// connection behave in two ways, side by side or in turns, and only one of them should be measured.
fn pin(last: bool) -> Result<()> {
    // SAFETY: the set is a plain array of bits, of the size that is given.
    unsafe {
        let mut allowed = MaybeUninit::<libc::cpu_set_t>::zeroed().assume_init();
        let size = size_of::<libc::cpu_set_t>();
        ensure!(libc::sched_getaffinity(0, size, &raw mut allowed) == 0, "sched_getaffinity failed");
        let mut cpus = (0..libc::CPU_SETSIZE as usize).filter(|&cpu| libc::CPU_ISSET(cpu, &allowed));
        let chosen = if last { cpus.next_back() } else { cpus.next() }.context("no processor")?;
        let mut only = MaybeUninit::<libc::cpu_set_t>::zeroed().assume_init();
        libc::CPU_SET(chosen, &mut only);
        ensure!(libc::sched_setaffinity(0, size, &raw const only) == 0, "sched_setaffinity failed");
    }
    Ok(())
}

/// Makes the files that workloads use.
pub(crate) fn prepare(dir: &Path) -> Result<()> {
    for name in ["source", "destination"] {
        std::fs::write(dir.join(name), vec![0x5A_u8; SENDFILE_BYTES]).context("write the files to relay")?;
    }
    Ok(())
}
