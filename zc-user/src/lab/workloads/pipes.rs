//! Pages handed from pipe to pipe and on to a socket.

use std::io;

use super::{
    super::rows::CHUNK,
    Context, Done, raw,
    stream::{self},
    sys::{self, Mapping},
    timed,
};

pub(super) fn splice(context: &Context) -> io::Result<Done> {
    let (source, stream) = (context.source()?, stream::loopback()?);
    let (end, begin) = sys::pipe()?;
    let (from, to) = (raw(&source), stream.fd());
    let done = timed(|| {
        let mut bytes = 0;
        for (offset, len) in context.chunks() {
            let mut position = offset.cast_signed();
            sys::repeat(len, |left| {
                let got = sys::splice(from, Some(&mut position), raw(&begin), left)?;
                sys::repeat(got, |left| sys::splice(raw(&end), None, to, left))?;
                Ok(got)
            })?;
            bytes += len as u64;
        }
        Ok(bytes)
    })?;
    stream.finish(done.bytes)?;
    Ok(done)
}

/// The first pipe keeps what it was given: tee takes nothing out.
pub(super) fn tee(context: &Context) -> io::Result<Done> {
    let stream = stream::loopback()?;
    let (kept_end, kept_begin) = sys::pipe()?;
    let (end, begin) = sys::pipe()?;
    let buffer = Mapping::buffer(CHUNK)?;
    sys::write_all(raw(&kept_begin), buffer.bytes())?;
    let done = timed(|| {
        let mut bytes = 0;
        for (_, len) in context.chunks() {
            let got = sys::tee(raw(&kept_end), raw(&begin), len)?;
            sys::repeat(got, |left| sys::splice(raw(&end), None, stream.fd(), left))?;
            bytes += got as u64;
        }
        Ok(bytes)
    })?;
    stream.finish(done.bytes)?;
    Ok(done)
}

/// The pages may be on their way still when they are given again: nothing in them changes.
pub(super) fn vmsplice(context: &Context) -> io::Result<Done> {
    let stream = stream::loopback()?;
    let (end, begin) = sys::pipe()?;
    let buffer = Mapping::buffer(CHUNK)?;
    let done = timed(|| {
        let mut bytes = 0;
        for (_, len) in context.chunks() {
            let got = sys::vmsplice(raw(&begin), &buffer.bytes()[..len])?;
            sys::repeat(got, |left| sys::splice(raw(&end), None, stream.fd(), left))?;
            bytes += got as u64;
        }
        Ok(bytes)
    })?;
    stream.finish(done.bytes)?;
    Ok(done)
}
