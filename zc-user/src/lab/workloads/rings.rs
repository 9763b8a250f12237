//! Transfers through `io_uring`.

use std::io;

use super::{
    super::rows::CHUNK,
    Context, Done, raw,
    ring::{self, Ring},
    stream::{self},
    sys::{self, Mapping},
    timed,
};

pub(super) fn read(context: &Context) -> io::Result<Done> {
    let (source, ring) = (context.source()?, Ring::new()?);
    let buffer = Mapping::buffer(CHUNK)?;
    timed(|| {
        let mut bytes = 0;
        for (mut offset, len) in context.chunks() {
            sys::repeat(len, |left| {
                let got = ring.request(ring::READ, raw(&source), &buffer.bytes()[..left], offset)?;
                offset += got as u64;
                Ok(got)
            })?;
            bytes += len as u64;
        }
        Ok(bytes)
    })
}

pub(super) fn send(context: &Context) -> io::Result<Done> {
    let (stream, ring) = (stream::loopback()?, Ring::new()?);
    let buffer = Mapping::buffer(CHUNK)?;
    let done = timed(|| {
        let mut bytes = 0;
        for (_, len) in context.chunks() {
            sys::repeat(len, |left| ring.request(ring::SEND, stream.fd(), &buffer.bytes()[..left], 0))?;
            bytes += len as u64;
        }
        Ok(bytes)
    })?;
    stream.finish(done.bytes)?;
    Ok(done)
}
