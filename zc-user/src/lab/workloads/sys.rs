//! System calls, each exactly once a call: what they return, or the error.

use std::{
    io,
    os::fd::{FromRawFd as _, OwnedFd, RawFd},
    ptr::NonNull,
};

use libc::{c_int, c_uint, off64_t};

/// The result of a call.
fn checked(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

pub(super) fn read(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is valid for its length.
    checked(unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) })
}

pub(super) fn pread(fd: RawFd, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    // SAFETY: the buffer is valid for its length.
    checked(unsafe { libc::pread64(fd, buffer.as_mut_ptr().cast(), buffer.len(), offset.cast_signed()) })
}

pub(super) fn write(fd: RawFd, buffer: &[u8]) -> io::Result<usize> {
    // SAFETY: the buffer is valid for its length.
    checked(unsafe { libc::write(fd, buffer.as_ptr().cast(), buffer.len()) })
}

pub(super) fn send(fd: RawFd, buffer: &[u8], flags: c_int) -> io::Result<usize> {
    // SAFETY: the buffer is valid for its length.
    checked(unsafe { libc::send(fd, buffer.as_ptr().cast(), buffer.len(), flags) })
}

/// Writes all of it: one call, when the kernel takes it all.
pub(super) fn write_all(fd: RawFd, mut buffer: &[u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        let written = write(fd, buffer)?;
        buffer = &buffer[written..];
    }
    Ok(())
}

/// Repeats a call until `len` bytes are moved: one call, when the kernel moves them all.
pub(super) fn repeat(len: usize, mut call: impl FnMut(usize) -> io::Result<usize>) -> io::Result<()> {
    let mut left = len;
    while left > 0 {
        match call(left)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            moved => left -= moved.min(left),
        }
    }
    Ok(())
}

pub(super) fn sendfile(to: RawFd, from: RawFd, offset: &mut off64_t, len: usize) -> io::Result<usize> {
    // SAFETY: the offset is valid.
    checked(unsafe { libc::sendfile64(to, from, offset, len) })
}

pub(super) fn copy_file_range(
    from: RawFd,
    from_offset: &mut off64_t,
    to: RawFd,
    to_offset: &mut off64_t,
    len: usize,
) -> io::Result<usize> {
    // SAFETY: the offsets are valid.
    checked(unsafe { libc::copy_file_range(from, from_offset, to, to_offset, len, 0) })
}

/// From the descriptor's own position when there is no offset.
pub(super) fn splice(from: RawFd, offset: Option<&mut off64_t>, to: RawFd, len: usize) -> io::Result<usize> {
    let offset = offset.map_or(std::ptr::null_mut(), std::ptr::from_mut);
    // SAFETY: the offset is null or valid.
    checked(unsafe { libc::splice(from, offset, to, std::ptr::null_mut(), len, 0) })
}

pub(super) fn tee(from: RawFd, to: RawFd, len: usize) -> io::Result<usize> {
    // SAFETY: takes no pointers.
    checked(unsafe { libc::tee(from, to, len, 0 as c_uint) })
}

pub(super) fn vmsplice(to: RawFd, buffer: &[u8]) -> io::Result<usize> {
    let piece = libc::iovec { iov_base: buffer.as_ptr().cast_mut().cast(), iov_len: buffer.len() };
    // SAFETY: the vector and the buffer are valid; the kernel only reads.
    checked(unsafe { libc::vmsplice(to, &raw const piece, 1, 0) })
}

pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: there is room for both.
    checked(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } as isize)?;
    // SAFETY: they were just made and nobody else has them.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// A mapping. It goes away with the process, or when it is told to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    /// Of a file; of no file when there is none.
    pub(super) fn new(
        fd: Option<RawFd>,
        offset: u64,
        len: usize,
        write: bool,
        shared: bool,
    ) -> io::Result<Self> {
        let protection = libc::PROT_READ | if write { libc::PROT_WRITE } else { 0 };
        let flags = if shared { libc::MAP_SHARED } else { libc::MAP_PRIVATE }
            | if fd.is_none() { libc::MAP_ANONYMOUS } else { 0 };
        // SAFETY: at an address of the kernel's choice.
        let start = unsafe {
            libc::mmap64(std::ptr::null_mut(), len, protection, flags, fd.unwrap_or(-1), offset.cast_signed())
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    /// Memory of its own, every page of it there.
    pub(super) fn buffer(len: usize) -> io::Result<Self> {
        let buffer = Self::new(None, 0, len, true, false)?;
        buffer.bytes_mut().fill(0x5A);
        Ok(buffer)
    }

    pub(super) fn advise(&self, advice: c_int) -> io::Result<()> {
        // SAFETY: the range is ours.
        checked(unsafe { libc::madvise(self.start.as_ptr().cast(), self.len, advice) } as isize)?;
        Ok(())
    }

    pub(super) fn address(&self) -> u64 {
        self.start.as_ptr() as u64
    }

    /// What begins where the mapping does: at the start of a page, so that it is aligned.
    pub(super) fn start_of<T>(&self) -> *mut T {
        self.start.as_ptr().cast()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the range is mapped for reading as long as this object is used.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// Of a mapping that was made for writing.
    #[expect(clippy::mut_from_ref, reason = "nobody else in this process of one thread knows the address")]
    pub(super) fn bytes_mut(&self) -> &mut [u8] {
        // SAFETY: the range is mapped for writing as long as this object is used.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// Looks at one byte of a page.
    pub(super) fn look(&self, offset: usize) -> u8 {
        assert!(offset < self.len);
        // SAFETY: within the mapping.
        unsafe { self.start.as_ptr().add(offset).read_volatile() }
    }

    /// Writes one byte of a page.
    pub(super) fn touch(&self, offset: usize) {
        assert!(offset < self.len);
        // SAFETY: within the mapping, which was made for writing.
        unsafe { self.start.as_ptr().add(offset).write_volatile(0xA5) };
    }

    pub(super) fn unmap(self) {
        // SAFETY: the range is ours, and this object is gone with it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
