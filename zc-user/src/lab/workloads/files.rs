//! From a file to a socket, to memory and to another file.

use std::{fs::File, io, os::unix::fs::OpenOptionsExt as _};

use super::{
    super::rows::{CHUNK, PAGE, PAGE_BYTES},
    super::tell::SHARES_EXTENTS,
    Context, Done, path, raw,
    stream::{self, Stream},
    sys::{self, Mapping},
    timed,
};

pub(super) fn read_write(context: &Context) -> io::Result<Done> {
    let (source, stream) = (context.source()?, stream::loopback()?);
    let buffer = Mapping::buffer(CHUNK)?;
    let (from, to) = (raw(&source), stream.fd());
    let done = timed(|| {
        let mut bytes = 0;
        for (_, len) in context.chunks() {
            sys::repeat(len, |left| {
                let got = sys::read(from, &mut buffer.bytes_mut()[..left])?;
                sys::write_all(to, &buffer.bytes()[..got])?;
                Ok(got)
            })?;
            bytes += len as u64;
        }
        Ok(bytes)
    })?;
    stream.finish(done.bytes)?;
    Ok(done)
}

/// A mapping for each transfer, as the text counts one mmap to one write. They go away with the process.
pub(super) fn mmap_write(context: &Context) -> io::Result<Done> {
    let (source, stream) = (context.source()?, stream::loopback()?);
    let (from, to) = (raw(&source), stream.fd());
    let done = timed(|| {
        let mut bytes = 0;
        for (offset, len) in context.chunks() {
            let mapping = Mapping::new(Some(from), offset, len, false, true)?;
            sys::write_all(to, mapping.bytes())?;
            bytes += len as u64;
        }
        Ok(bytes)
    })?;
    stream.finish(done.bytes)?;
    Ok(done)
}

pub(super) fn sendfile(context: &Context, stream: Stream) -> io::Result<Done> {
    let source = context.source()?;
    let (from, to) = (raw(&source), stream.fd());
    let done = timed(|| {
        let mut bytes = 0;
        for (offset, len) in context.chunks() {
            let mut position = offset.cast_signed();
            sys::repeat(len, |left| sys::sendfile(to, from, &mut position, left))?;
            bytes += len as u64;
        }
        Ok(bytes)
    })?;
    stream.finish(done.bytes)?;
    Ok(done)
}

pub(super) fn copy_file_range(context: &Context) -> io::Result<Done> {
    let (source, destination) = (context.source()?, context.destination()?);
    let (from, to) = (raw(&source), raw(&destination));
    let mut done = timed(|| {
        let mut bytes = 0;
        for (offset, len) in context.chunks() {
            let (mut source, mut destination) = (offset.cast_signed(), offset.cast_signed());
            sys::repeat(len, |left| sys::copy_file_range(from, &mut source, to, &mut destination, left))?;
            bytes += len as u64;
        }
        Ok(bytes)
    })?;
    done.facts.push((SHARES_EXTENTS, u64::from(shares_extents(context, &destination))));
    Ok(done)
}

/// Whether the file system can share extents at all: it clones an empty range only when it can.
fn shares_extents(context: &Context, destination: &File) -> bool {
    const FICLONE: libc::c_ulong = 0x4004_9409;
    // SAFETY: takes a descriptor.
    unsafe { libc::ioctl(raw(destination), FICLONE as _, context.source) == 0 }
}

pub(super) fn direct_read(context: &Context) -> io::Result<Done> {
    let source = File::options().read(true).custom_flags(libc::O_DIRECT).open(path(context.source)).map_err(|error| {
        io::Error::other(format!("the file system of the lab's files cannot open with O_DIRECT ({error}); choose another with --dir"))
    })?;
    let buffer = Mapping::buffer(CHUNK)?;
    timed(|| {
        let mut bytes = 0;
        for (offset, len) in context.chunks() {
            // The device wants whole blocks: the last read asks for more than there is.
            let got = sys::pread(raw(&source), buffer.bytes_mut(), offset)?;
            if got != len {
                return Err(io::Error::other(format!("{got} bytes came of {len}")));
            }
            bytes += got as u64;
        }
        Ok(bytes)
    })
}

pub(super) fn read_page(context: &Context, page: u64) -> io::Result<Done> {
    let source = context.source()?;
    let buffer = Mapping::buffer(PAGE)?;
    timed(|| {
        let mut bytes = 0;
        for _ in 0..context.transfers {
            bytes += sys::pread(raw(&source), buffer.bytes_mut(), page * PAGE_BYTES)? as u64;
        }
        Ok(bytes)
    })
}
