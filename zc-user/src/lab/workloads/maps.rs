//! Mappings and their page faults.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::FileExt as _,
    },
    process::Stdio,
};

use super::{
    super::{
        rows::{PAGE, PAGE_BYTES},
        tell::SAME_PAGES,
    },
    Context, Done, raw, stream,
    sys::Mapping,
    timed,
};

/// A mapping for each transfer, and a look at each of its pages.
pub(super) fn read(context: &Context) -> io::Result<Done> {
    let source = context.source()?;
    timed(|| {
        let mut bytes = 0;
        for (offset, len) in context.chunks() {
            let mapping = Mapping::new(Some(raw(&source)), offset, len, false, true)?;
            for page in (0..len).step_by(PAGE) {
                std::hint::black_box(mapping.look(page));
            }
            bytes += len as u64;
        }
        Ok(bytes)
    })
}

/// Mappings of the whole file, and no look at them.
pub(super) fn map_only(context: &Context) -> io::Result<Done> {
    let source = context.source()?;
    let len = usize::try_from(context.size).map_err(|_| io::ErrorKind::FileTooLarge)?;
    timed(|| {
        for _ in 0..context.transfers {
            Mapping::new(Some(raw(&source)), 0, len, false, true)?;
        }
        Ok(0)
    })
}

/// Memory of no file, touched page by page; small pages, as the text has them.
pub(super) fn anonymous(context: &Context) -> io::Result<Done> {
    let mapping = Mapping::new(None, 0, pages(context), true, false)?;
    // A kernel without huge pages does not know the advice, and needs none.
    let _ = mapping.advise(libc::MADV_NOHUGEPAGE);
    timed(|| {
        for page in 0..count(context) {
            mapping.touch(page * PAGE);
        }
        Ok(context.transfers * PAGE_BYTES)
    })
}

/// A file, looked at page by page. `random`: as if what comes next were not known, so that nothing is read ahead.
pub(super) fn file(context: &Context, random: bool) -> io::Result<Done> {
    let source = context.source()?;
    let mapping = Mapping::new(Some(raw(&source)), 0, pages(context), false, true)?;
    if random {
        mapping.advise(libc::MADV_RANDOM)?;
    }
    timed(|| Ok(look_at_all(context, &mapping)))
}

/// A private mapping that was looked at, and is written then.
pub(super) fn copy_on_write(context: &Context) -> io::Result<Done> {
    let source = context.source()?;
    let mapping = Mapping::new(Some(raw(&source)), 0, pages(context), true, false)?;
    for page in (0..pages(context)).step_by(PAGE) {
        std::hint::black_box(mapping.look(page));
    }
    timed(|| {
        for page in 0..count(context) {
            mapping.touch(page * PAGE);
        }
        Ok(context.transfers * PAGE_BYTES)
    })
}

/// This process and another look at the same pages, and compare which pages of memory they are.
pub(super) fn share(context: &Context) -> io::Result<Done> {
    let source = context.source()?;
    let mapping = Mapping::new(Some(raw(&source)), 0, pages(context), false, true)?;
    let mut done = timed(|| Ok(look_at_all(context, &mapping)))?;
    let looked_at = usize::try_from(context.planned).unwrap_or(0);
    let own = frames(&mapping, looked_at)?;
    let mut other = stream::command("peek")
        .arg(looked_at.to_string())
        .stdin(Stdio::from(OwnedFd::from(source)))
        .spawn()?;
    let mut theirs = Vec::new();
    if let Some(mut output) = other.stdout.take() {
        output.read_to_end(&mut theirs)?;
    }
    other.wait()?;
    let same = own
        .chunks(8)
        .zip(theirs.chunks(8))
        .filter(|(own, theirs)| own == theirs && own.iter().any(|&b| b != 0));
    done.facts.push((SAME_PAGES, same.count() as u64));
    Ok(done)
}

/// The other process: looks at so many pages of the file on its standard input, and says which pages of memory they are.
pub(in super::super) fn peek(transfers: u64) -> io::Result<()> {
    let source = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let pages = usize::try_from(transfers).unwrap_or(0);
    if pages == 0 {
        return Ok(());
    }
    let mapping = Mapping::new(Some(raw(&source)), 0, pages * PAGE, false, true)?;
    for page in 0..pages {
        std::hint::black_box(mapping.look(page * PAGE));
    }
    io::stdout().write_all(&frames(&mapping, pages)?)
}

/// The entries of `/proc/self/pagemap`, without the bits that are not the page's number. Zero without `CAP_SYS_ADMIN`.
fn frames(mapping: &Mapping, pages: usize) -> io::Result<Vec<u8>> {
    const NUMBER: u64 = (1 << 55) - 1;
    let mut entries = vec![0; pages * 8];
    File::open("/proc/self/pagemap")?.read_exact_at(&mut entries, mapping.address() / PAGE_BYTES * 8)?;
    for entry in entries.chunks_exact_mut(8) {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(entry);
        entry.copy_from_slice(&(u64::from_ne_bytes(bytes) & NUMBER).to_ne_bytes());
    }
    Ok(entries)
}

fn look_at_all(context: &Context, mapping: &Mapping) -> u64 {
    for page in 0..count(context) {
        std::hint::black_box(mapping.look(page * PAGE));
    }
    context.transfers * PAGE_BYTES
}

fn count(context: &Context) -> usize {
    usize::try_from(context.transfers).unwrap_or(0)
}

fn pages(context: &Context) -> usize {
    usize::try_from(context.planned).unwrap_or(1) * PAGE
}
