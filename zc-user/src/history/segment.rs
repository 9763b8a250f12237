//! Segments: a header, then one record for each interval.
//!
//! A record is its length and a CRC32 of length and content, 32 bits each, little-endian, then the content: JSON ([`Stored`]),
//! compressed by Snappy. Whatever is no such record ends the segment: what a crash left of a write that was under way.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
};

use super::{
    error::HistoryError,
    files::{self, Layout},
    stem::Stem,
    stored::Stored,
};

/// Magic and version. Another version gets another number and is not read by this one.
pub(super) const HEADER: [u8; 8] = *b"zchist\x01\n";
const FRAME_BYTES: usize = 8;
/// The largest content of a record, compressed.
pub(super) const RECORD_MAX_BYTES: usize = 64 << 20;
/// The largest content of a record, as JSON.
const JSON_MAX_BYTES: usize = 256 << 20;

/// An interval as a record: frame and content.
pub(super) fn encode(stored: &Stored<'_>) -> Result<Vec<u8>, HistoryError> {
    let too_large = |bytes, max_bytes| HistoryError::TooLarge { bytes, max_bytes };
    // The only errors are those of the writer, which is memory.
    let json = serde_json::to_vec(stored).map_err(|_| too_large(usize::MAX, JSON_MAX_BYTES))?;
    if json.len() > JSON_MAX_BYTES {
        return Err(too_large(json.len(), JSON_MAX_BYTES));
    }
    let mut record = vec![0; FRAME_BYTES + snap::raw::max_compress_len(json.len())];
    let compressed = snap::raw::Encoder::new()
        .compress(&json, &mut record[FRAME_BYTES..])
        .map_err(|_| too_large(json.len(), JSON_MAX_BYTES))?;
    let length = u32::try_from(compressed).ok().filter(|_| compressed <= RECORD_MAX_BYTES);
    let length = length.ok_or_else(|| too_large(compressed, RECORD_MAX_BYTES))?.to_le_bytes();
    record.truncate(FRAME_BYTES + compressed);
    let checksum = checksum(length, &record[FRAME_BYTES..]);
    record[..4].copy_from_slice(&length);
    record[4..FRAME_BYTES].copy_from_slice(&checksum.to_le_bytes());
    Ok(record)
}

fn checksum(length: [u8; 4], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(content);
    hasher.finalize()
}

/// The interval of a record's content.
pub(super) fn decode(content: &[u8]) -> Result<Stored<'static>, String> {
    let length = snap::raw::decompress_len(content).map_err(|error| error.to_string())?;
    if length > JSON_MAX_BYTES {
        return Err(format!("a record says that it has {length} bytes"));
    }
    let json = snap::raw::Decoder::new().decompress_vec(content).map_err(|error| error.to_string())?;
    serde_json::from_slice(&json).map_err(|error| error.to_string())
}

/// What comes next in a segment.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// The content of a record.
    Record(Vec<u8>),
    /// The segment ends with a whole record.
    End,
    /// It ends within a record: a write that is under way, or was.
    Incomplete,
    /// It goes on with something else.
    Damaged(&'static str),
}

/// Reads a segment from its beginning.
#[derive(Debug)]
pub(super) struct Reader<R> {
    from: R,
    /// Where the last whole record ended.
    pub(super) good_bytes: u64,
}

impl Reader<BufReader<File>> {
    pub(super) fn of_file(file: File) -> io::Result<Result<Self, String>> {
        Reader::new(BufReader::new(file))
    }
}

impl<R: Read> Reader<R> {
    /// Reads the header; the inner error says what is wrong with it.
    pub(super) fn new(mut from: R) -> io::Result<Result<Self, String>> {
        let mut header = Vec::new();
        from.by_ref().take(HEADER.len() as u64).read_to_end(&mut header)?;
        if header == HEADER {
            return Ok(Ok(Self { from, good_bytes: HEADER.len() as u64 }));
        }
        let is_other_version = header.len() == HEADER.len() && header[..6] == HEADER[..6];
        Ok(Err(if is_other_version {
            format!("its form is version {}, this zc knows version {}", header[6], HEADER[6])
        } else {
            "it does not begin as a segment does".to_owned()
        }))
    }

    /// The next record. After anything else there is nothing more.
    pub(super) fn next(&mut self) -> io::Result<Next> {
        let mut frame = Vec::with_capacity(FRAME_BYTES);
        self.from.by_ref().take(FRAME_BYTES as u64).read_to_end(&mut frame)?;
        let Some((length, sum)) = frame.split_first_chunk::<4>() else {
            return Ok(if frame.is_empty() { Next::End } else { Next::Incomplete });
        };
        let Ok(sum) = <[u8; 4]>::try_from(sum) else { return Ok(Next::Incomplete) };
        let bytes = u32::from_le_bytes(*length) as usize;
        if bytes == 0 || bytes > RECORD_MAX_BYTES {
            return Ok(Next::Damaged("no record is as long as it says"));
        }
        // Grows with what is really there, whatever the length says.
        let mut content = Vec::new();
        self.from.by_ref().take(bytes as u64).read_to_end(&mut content)?;
        if content.len() < bytes {
            return Ok(Next::Incomplete);
        }
        if checksum(*length, &content) != u32::from_le_bytes(sum) {
            return Ok(Next::Damaged("its checksum is of other bytes"));
        }
        self.good_bytes += (FRAME_BYTES + bytes) as u64;
        Ok(Next::Record(content))
    }
}

/// A file, as far as appending goes.
pub(super) trait Medium {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns when what was written is on the disk.
    fn sync(&mut self) -> io::Result<()>;
    fn cut(&mut self, len_bytes: u64) -> io::Result<()>;
}

impl Medium for File {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        // One call, unless the disk is full: what it took before that is cut away again.
        io::Write::write_all(self, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, len_bytes: u64) -> io::Result<()> {
        self.set_len(len_bytes)?;
        self.sync_data()
    }
}

/// A segment that is not Parquet yet.
#[derive(Debug)]
pub(super) struct Segment<M = File> {
    pub(super) stem: Stem,
    pub(super) path: PathBuf,
    /// Up to here there are whole records.
    pub(super) good_bytes: u64,
    /// There may be something behind them.
    is_dirty: bool,
    file: Option<M>,
}

/// Name of a segment in [`Layout::open`].
pub(super) const EXTENSION: &str = ".segment";

impl Segment {
    /// A segment that is there, and was looked through.
    pub(super) fn found(stem: Stem, path: PathBuf, good_bytes: u64) -> Self {
        Self { stem, path, good_bytes, is_dirty: false, file: None }
    }

    /// A new one. It gets its name when its header is on the disk, so that none is ever without.
    pub(super) fn create(layout: &Layout, stem: Stem) -> Result<Self, HistoryError> {
        let name = format!("{stem}{EXTENSION}");
        let (unfinished, path) = (layout.tmp().join(&name), layout.open().join(&name));
        files::remove(&unfinished)?;
        let write = || {
            let mut file = files::create(&unfinished)?;
            Medium::write_all(&mut file, &HEADER)?;
            file.sync_all()
        };
        if let Err(error) = write() {
            // What is left of it is cleared away when the directory is opened.
            let _ = files::remove(&unfinished);
            return Err(HistoryError::io("create", &path)(error));
        }
        files::rename(&unfinished, &path)?;
        files::sync_dir(&layout.open())?;
        Ok(Self::found(stem, path, HEADER.len() as u64))
    }

    /// Adds a record. When that fails, the segment is as it was before.
    pub(super) fn append(&mut self, record: &[u8]) -> Result<(), HistoryError> {
        let file = match self.file.take() {
            Some(file) => Ok(file),
            None => files::open_to_append(&self.path),
        };
        let appended = file.and_then(|file| self.append_to(file, record));
        appended.map_err(HistoryError::io("append to", &self.path))
    }

    /// Somebody has removed the file.
    pub(super) fn is_gone(&self) -> bool {
        let is_unlinked = |file: &File| file.metadata().is_ok_and(|metadata| metadata.nlink() == 0);
        self.file.as_ref().is_some_and(is_unlinked) || self.file.is_none() && !self.path.exists()
    }

    /// Closes the file; the next record opens it again.
    pub(super) fn close(&mut self) {
        self.file = None;
    }
}

impl<M: Medium> Segment<M> {
    fn append_to(&mut self, mut file: M, record: &[u8]) -> io::Result<()> {
        if self.is_dirty {
            file.cut(self.good_bytes)?;
            self.is_dirty = false;
        }
        let written = file.write_all(record).and_then(|()| file.sync());
        if let Err(error) = written {
            // The file is opened anew for the next record: after a failed sync the kernel may forget what it could not write.
            self.is_dirty = file.cut(self.good_bytes).is_err();
            return Err(error);
        }
        self.good_bytes += record.len() as u64;
        self.file = Some(file);
        Ok(())
    }
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
