//! A checksum of a whole Parquet file, within it.
//!
//! Parquet has none of its footer, and readers of the format take what is there for true: one changed bit gives other numbers, or a
//! panic. So a key in the metadata of the file holds the CRC32 of all its bytes, with zeros in the checksum's own place.

use std::{
    fs::File,
    io::{self, Read, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
};

/// The key in the metadata.
pub(super) const KEY: &str = "zc.crc32";
/// What the writer puts there: as many digits as the checksum will have.
pub(super) const BLANK: &str = "00000000";

/// Footer, its length, and `PAR1`.
const TAIL_BYTES: u64 = 8;
/// In the encoding of the footer (Thrift, compact), a value follows its key after the number of the field and the length.
const BETWEEN: [u8; 2] = [0x18, 8];

/// Puts the checksum of a finished file into it.
pub(super) fn seal(file: &File) -> io::Result<()> {
    let place = place(file)?.ok_or_else(|| io::Error::other("the footer has no place for a checksum"))?;
    let sum = checksum(file, place)?;
    file.write_all_at(digits(sum).as_bytes(), place)
}

/// Whether a file is as it was when it was sealed; if not, why not.
pub(super) fn check(file: &File) -> Result<(), String> {
    let checked = place(file).and_then(|place| {
        let Some(place) = place else { return Ok(Err("it has no checksum, or is not whole")) };
        let mut written = [0; BLANK.len()];
        file.read_exact_at(&mut written, place)?;
        let is_right = written == digits(checksum(file, place)?).as_bytes();
        Ok(if is_right { Ok(()) } else { Err("its checksum is of other bytes") })
    });
    checked.map_err(|error| error.to_string())?.map_err(str::to_owned)
}

fn digits(sum: u32) -> String {
    format!("{sum:08x}")
}

/// Where the checksum is.
fn place(file: &File) -> io::Result<Option<u64>> {
    let len_bytes = file.metadata()?.len();
    let Some(tail) = len_bytes.checked_sub(TAIL_BYTES) else { return Ok(None) };
    let mut footer_bytes = [0; 4];
    file.read_exact_at(&mut footer_bytes, tail)?;
    let footer_bytes = u32::from_le_bytes(footer_bytes);
    let Some(start) = tail.checked_sub(footer_bytes.into()) else { return Ok(None) };
    // Not longer than the file.
    let mut footer = vec![0; footer_bytes as usize];
    file.read_exact_at(&mut footer, start)?;
    let sought = [KEY.as_bytes(), &BETWEEN].concat();
    // The metadata of the file comes after that of its columns, in which there may be any text.
    let found = footer.windows(sought.len()).rposition(|window| window == sought);
    let place = found.map(|found| found + sought.len()).filter(|place| place + BLANK.len() <= footer.len());
    Ok(place.map(|place| start + place as u64))
}

/// Of all bytes, with [`BLANK`] in its place.
fn checksum(mut file: &File, place: u64) -> io::Result<u32> {
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 64 << 10];
    file.seek(SeekFrom::Start(0))?;
    let mut before = file.take(place);
    feed(&mut hasher, &mut before, &mut buffer)?;
    hasher.update(BLANK.as_bytes());
    file.seek(SeekFrom::Start(place + BLANK.len() as u64))?;
    feed(&mut hasher, &mut file, &mut buffer)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(hasher.finalize())
}

fn feed(hasher: &mut crc32fast::Hasher, from: &mut impl Read, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        match from.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(bytes) => hasher.update(&buffer[..bytes]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
