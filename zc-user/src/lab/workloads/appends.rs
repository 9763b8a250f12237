//! Records appended to an empty file, by write(2) and through a shared mapping. The time is that of the appends, and of
//! making and unmaking the mapping; of some runs the best one. That of opening and closing is not in it: ext4 begins to
//! write back a file that was emptied when it is closed.

use std::{fs::File, io, time::Instant};

use super::{
    super::rows::{RECORD, RECORD_BYTES},
    Context, Done, raw,
    sys::{self, Mapping},
};

const CONTENT: [u8; RECORD] = [0x5A; RECORD];

pub(super) fn by_write(context: &Context) -> io::Result<Done> {
    best(context, |file| {
        for _ in 0..context.transfers {
            sys::write_all(raw(file), &CONTENT)?;
        }
        Ok(())
    })
}

pub(super) fn by_mapping(context: &Context) -> io::Result<Done> {
    let len = context.transfers * RECORD_BYTES;
    best(context, |file| {
        if len == 0 {
            return Ok(());
        }
        file.set_len(len)?;
        let mapping = Mapping::new(Some(raw(file)), 0, usize::try_from(len).unwrap_or(0), true, true)?;
        for record in mapping.bytes_mut().chunks_exact_mut(RECORD) {
            record.copy_from_slice(&CONTENT);
        }
        mapping.unmap();
        Ok(())
    })
}

fn best(context: &Context, append: impl Fn(&File) -> io::Result<()>) -> io::Result<Done> {
    let mut nanoseconds = u64::MAX;
    for _ in 0..context.repeats {
        let file = context.destination()?;
        let start = Instant::now();
        append(&file)?;
        nanoseconds = nanoseconds.min(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(Done { bytes: context.transfers * RECORD_BYTES, nanoseconds, facts: Vec::new() })
}
