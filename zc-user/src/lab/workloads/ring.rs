//! `io_uring` as far as the lab needs it: one request, submitted and waited for by one call.
//!
//! Layout and numbers are those of `include/uapi/linux/io_uring.h`, which never change.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    sync::atomic::{AtomicU32, Ordering},
};

use super::sys::Mapping;

const SUBMISSIONS: u64 = 0;
const COMPLETIONS: u64 = 0x0800_0000;
const ENTRIES: u64 = 0x1000_0000;
const GETEVENTS: u32 = 1;

/// `IORING_OP_READ`.
pub(super) const READ: u8 = 22;
/// `IORING_OP_SEND`.
pub(super) const SEND: u8 = 26;

/// `struct io_uring_params`: ten words, then the offsets of either ring, each eight words and an address.
type Parameters = [u32; 30];
const SUBMISSION_OFFSETS: usize = 10;
const COMPLETION_OFFSETS: usize = 20;

/// A ring of one entry.
pub(super) struct Ring {
    fd: OwnedFd,
    submissions: Mapping,
    completions: Mapping,
    entries: Mapping,
    parameters: Parameters,
}

/// `struct io_uring_sqe`, as far as it is used.
#[repr(C)]
struct Request {
    opcode: u8,
    flags: u8,
    priority: u16,
    fd: i32,
    offset: u64,
    address: u64,
    len: u32,
    call_flags: u32,
    user_data: u64,
    rest: [u64; 3],
}

impl Ring {
    pub(super) fn new() -> io::Result<Self> {
        let mut parameters: Parameters = [0; 30];
        // SAFETY: the parameters are as large as the kernel's structure.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1_u32, parameters.as_mut_ptr()) };
        let Some(fd) = i32::try_from(fd).ok().filter(|&fd| fd >= 0) else {
            let error = io::Error::last_os_error();
            return Err(io::Error::other(format!("io_uring cannot be used here: {error}")));
        };
        // SAFETY: it was just made and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let map = |what, len| Mapping::new(Some(fd.as_raw_fd()), what, len, true, true);
        let (submissions, completions, entries) =
            (map(SUBMISSIONS, 4096)?, map(COMPLETIONS, 4096)?, map(ENTRIES, 4096)?);
        Ok(Self { fd, submissions, completions, entries, parameters })
    }

    /// Makes one request and waits for its result. A send is told to wait for room, as a blocking send(2) does.
    pub(super) fn request(&self, opcode: u8, fd: RawFd, buffer: &[u8], offset: u64) -> io::Result<usize> {
        let [_, tail, mask, _, _, _, array, ..] = self.offsets(SUBMISSION_OFFSETS);
        let request = Request {
            opcode,
            flags: 0,
            priority: 0,
            fd,
            offset,
            address: buffer.as_ptr() as u64,
            len: u32::try_from(buffer.len()).unwrap_or(u32::MAX),
            call_flags: if opcode == SEND { libc::MSG_WAITALL.cast_unsigned() } else { 0 },
            user_data: 0,
            rest: [0; 3],
        };
        let entry = self.entries.start_of::<Request>();
        // SAFETY: the first entry; the kernel has taken the one before, as its result was waited for.
        unsafe { entry.write(request) };
        let tail = word(&self.submissions, tail);
        let at = tail.load(Ordering::Relaxed);
        let slot = at & word(&self.submissions, mask).load(Ordering::Relaxed);
        word(&self.submissions, array + 4 * slot).store(0, Ordering::Relaxed);
        tail.store(at.wrapping_add(1), Ordering::Release);
        self.enter()?;
        self.result()
    }

    fn enter(&self) -> io::Result<()> {
        let none = std::ptr::null::<u8>();
        // SAFETY: no signal mask is given.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.fd.as_raw_fd(),
                1_u32,
                1_u32,
                GETEVENTS,
                none,
                0_usize,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn result(&self) -> io::Result<usize> {
        let [head, tail, mask, _, _, entries, ..] = self.offsets(COMPLETION_OFFSETS);
        let head = word(&self.completions, head);
        let at = head.load(Ordering::Relaxed);
        if at == word(&self.completions, tail).load(Ordering::Acquire) {
            return Err(io::Error::other("io_uring_enter returned without a result"));
        }
        // `struct io_uring_cqe`: user data, result, flags.
        let slot = at & word(&self.completions, mask).load(Ordering::Relaxed);
        let result = word(&self.completions, entries + 16 * slot + 8).load(Ordering::Relaxed).cast_signed();
        head.store(at.wrapping_add(1), Ordering::Release);
        usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
    }

    fn offsets(&self, start: usize) -> [u32; 8] {
        let mut offsets = [0; 8];
        offsets.copy_from_slice(&self.parameters[start..start + 8]);
        offsets
    }
}

/// A word that the kernel shares with us.
fn word(mapping: &Mapping, offset: u32) -> &AtomicU32 {
    let bytes = &mapping.bytes_mut()[offset as usize..][..4];
    // SAFETY: within the mapping, aligned as the kernel lays its rings out, and only ever used atomically.
    unsafe { AtomicU32::from_ptr(bytes.as_ptr().cast_mut().cast()) }
}
