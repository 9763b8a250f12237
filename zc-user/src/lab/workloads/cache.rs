//! The page cache of the lab's own file: emptied, filled, and looked at.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    os::fd::RawFd,
    thread,
    time::Duration,
};

use super::{
    super::rows::PAGE_BYTES,
    sys::{self, Mapping},
};

/// How often it is tried to drop a file from the cache, and how long is waited in between.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(5);

/// Drops what is cached of a file: it is written back first, as dirty pages stay. Pages stay too while a socket
/// buffer of an earlier step refers to them; this waits for such buffers, but not for ever.
pub(in super::super) fn drop_all(fd: RawFd, size: u64) -> io::Result<()> {
    for _ in 0..TRIES {
        // SAFETY: takes no pointers.
        if unsafe { libc::fsync(fd) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: takes no pointers.
        match unsafe { libc::posix_fadvise(fd, 0, 0, libc::POSIX_FADV_DONTNEED) } {
            0 => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
        if resident(fd, size)?.0 == 0 {
            break;
        }
        receive_on_each_cpu()?;
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Buffers that one CPU has read and another has made lie on a list of the latter until it next receives something
/// (`skb_attempt_defer_free`, Linux 5.19; `skb_defer_free_flush` in `net_rx_action`). On a quiet machine that is
/// never, so each CPU sends itself a byte.
fn receive_on_each_cpu() -> io::Result<()> {
    let allowed = affinity()?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(socket.local_addr()?)?;
    let mut done = Ok(());
    for cpu in 0..libc::CPU_SETSIZE as usize {
        // SAFETY: within the set.
        if unsafe { libc::CPU_ISSET(cpu, &allowed) } {
            // SAFETY: a set of no CPU is a valid value.
            let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
            // SAFETY: within the set.
            unsafe { libc::CPU_SET(cpu, &mut one) };
            done = done.and_then(|()| set_affinity(&one)).and_then(|()| socket.send(&[0]).map(drop));
        }
    }
    set_affinity(&allowed)?;
    done
}

fn affinity() -> io::Result<libc::cpu_set_t> {
    // SAFETY: a set of no CPU is a valid value, and as long as is said.
    let (set, result) = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let result = libc::sched_getaffinity(0, size_of_val(&set), &raw mut set);
        (set, result)
    };
    if result == 0 { Ok(set) } else { Err(io::Error::last_os_error()) }
}

fn set_affinity(set: &libc::cpu_set_t) -> io::Result<()> {
    // SAFETY: the set is as long as is said.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(set), set) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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
