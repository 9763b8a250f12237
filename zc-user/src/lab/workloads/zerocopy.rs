//! `MSG_ZEROCOPY`: memory sent without a copy, if the kernel does so; it reports afterwards.

use std::{io, os::fd::RawFd};

use super::{
    super::{
        rows::CHUNK,
        tell::{REPORTED, REPORTED_COPIED},
    },
    Context, Done,
    stream::{self},
    sys::{self, Mapping},
    timed,
};

/// `SO_EE_ORIGIN_ZEROCOPY` of `include/uapi/linux/errqueue.h`.
const ORIGIN_ZEROCOPY: u8 = 5;

/// What was reported so far.
#[derive(Default)]
struct Reports {
    sends: u64,
    copied: u64,
}

/// After each send a look at the reports, as programs do that want their buffers back.
pub(super) fn send(context: &Context) -> io::Result<Done> {
    let stream = stream::loopback()?;
    let fd = stream.fd();
    let on: libc::c_int = 1;
    let len = libc::socklen_t::try_from(size_of_val(&on)).unwrap_or(4);
    // SAFETY: the option's value is valid.
    if unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_ZEROCOPY, (&raw const on).cast(), len) } != 0
    {
        return Err(io::Error::last_os_error());
    }
    let buffer = Mapping::buffer(CHUNK)?;
    let mut reports = Reports::default();
    let mut sends = 0;
    let mut done = timed(|| {
        let mut bytes = 0;
        for (_, len) in context.chunks() {
            let chunk = &buffer.bytes()[..len];
            sys::repeat(len, |left| {
                let sent = sys::send(fd, &chunk[len - left..], libc::MSG_ZEROCOPY)?;
                sends += 1;
                Ok(sent)
            })?;
            reports.look(fd)?;
            bytes += len as u64;
        }
        Ok(bytes)
    })?;
    while reports.sends < sends {
        wait_for_report(fd)?;
        reports.look(fd)?;
    }
    stream.finish(done.bytes)?;
    done.facts.extend([(REPORTED, reports.sends), (REPORTED_COPIED, reports.copied)]);
    Ok(done)
}

/// The error queue makes the socket readable for POLLERR.
fn wait_for_report(fd: RawFd) -> io::Result<()> {
    let mut wanted = libc::pollfd { fd, events: 0, revents: 0 };
    // SAFETY: one valid entry.
    if unsafe { libc::poll(&raw mut wanted, 1, 5000) } < 1 {
        return Err(io::Error::other("the kernel did not report on a send with MSG_ZEROCOPY within 5 s"));
    }
    Ok(())
}

impl Reports {
    /// Takes one report from the error queue, if there is one (`struct sock_extended_err`).
    fn look(&mut self, fd: RawFd) -> io::Result<()> {
        let mut control = [0_u64; 32];
        // SAFETY: a message of zeros is an empty one.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        // SAFETY: the control buffer is valid for its length.
        if unsafe { libc::recvmsg(fd, &raw mut message, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) } < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(()) } else { Err(error) };
        }
        // SAFETY: the kernel has filled the buffer with whole control messages.
        let mut part = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        while !part.is_null() {
            // SAFETY: a control message of the error queue holds this structure.
            let report: libc::sock_extended_err =
                unsafe { libc::CMSG_DATA(part).cast::<libc::sock_extended_err>().read_unaligned() };
            if report.ee_origin == ORIGIN_ZEROCOPY {
                let sends = u64::from(report.ee_data.wrapping_sub(report.ee_info)) + 1;
                self.sends += sends;
                self.copied += if report.ee_code & 1 != 0 { sends } else { 0 };
            }
            // SAFETY: as above.
            part = unsafe { libc::CMSG_NXTHDR(&raw const message, part) };
        }
        Ok(())
    }
}
