//! The page cache of the lab's own file: emptied, filled, and looked at.

use std::{io, os::fd::RawFd};

use super::{
    super::rows::PAGE_BYTES,
    sys::{self, Mapping},
};

/// Drops what is cached of a file: it is written back first, as dirty pages stay.
pub(in super::super) fn drop_all(fd: RawFd) -> io::Result<()> {
    // SAFETY: takes no pointers.
    if unsafe { libc::fsync(fd) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: takes no pointers.
    match unsafe { libc::posix_fadvise(fd, 0, 0, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Reads all of a file.
pub(in super::super) fn fill(fd: RawFd, size: u64) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut offset = 0;
    while offset < size {
        let got = sys::pread(fd, &mut buffer, offset)? as u64;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        offset += got;
    }
    Ok(())
}

/// How many pages of a file are in the cache, and how many it has.
pub(in super::super) fn resident(fd: RawFd, size: u64) -> io::Result<(u64, u64)> {
    let pages = size.div_ceil(PAGE_BYTES);
    let len = usize::try_from(size).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mapping = Mapping::new(Some(fd), 0, len, false, true)?;
    let mut there = vec![0_u8; usize::try_from(pages).unwrap_or(0)];
    // SAFETY: the mapping is as long as `len`, and there is a byte for each of its pages.
    let result = unsafe { libc::mincore(mapping.address() as *mut _, len, there.as_mut_ptr()) };
    let error = io::Error::last_os_error();
    mapping.unmap();
    if result != 0 {
        return Err(error);
    }
    Ok((there.iter().filter(|&&page| page & 1 != 0).count() as u64, pages))
}
