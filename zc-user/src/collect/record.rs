//! Records of the ring buffer, from bytes.

use zc_common::{
    object::ObjectRecord,
    record::{ExecRecord, Header, ProcessRecord, RecordKind, RowRecord},
    row::RowKey,
};

/// A record.
pub(super) enum Record {
    Row(Box<RowRecord>),
    Fork(ProcessRecord),
    Exec(Box<ExecRecord>),
    Exit(ProcessRecord),
    Object(Box<ObjectRecord>),
}

/// Reads a record. `None` for what is none: too short, or of a kind that this version does not know.
pub(super) fn parse(bytes: &[u8]) -> Option<Record> {
    let header: Header = read(bytes)?;
    Some(match RecordKind::from_u32(header.kind)? {
        RecordKind::Row => Record::Row(Box::new(read(bytes)?)),
        RecordKind::Fork => Record::Fork(read(bytes)?),
        RecordKind::Exec => Record::Exec(Box::new(read(bytes)?)),
        RecordKind::Exit => Record::Exit(read(bytes)?),
        RecordKind::Object => Record::Object(Box::new(read(bytes)?)),
    })
}

/// Which row a record is about, if it is one of a row.
pub(super) fn row_of(bytes: &[u8]) -> Option<RowKey> {
    match parse(bytes)? {
        Record::Row(row) => Some(row.key),
        _ => None,
    }
}

/// Plain old data from its bytes; `None` when there are too few.
fn read<T: aya::Pod>(bytes: &[u8]) -> Option<T> {
    let bytes = bytes.get(..size_of::<T>())?;
    // SAFETY: `T` is plain old data (`Pod`), and there are enough bytes, aligned or not.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_foreign_records_are_none() {
        assert!(parse(&[]).is_none());
        assert!(parse(&[1, 0, 0, 0, 0, 0, 0, 0]).is_none(), "a row without its row");
        assert!(parse(&[99, 0, 0, 0, 0, 0, 0, 0]).is_none(), "an unknown kind");
    }

    #[test]
    fn an_exit_is_read_back() {
        let mut bytes = vec![0; size_of::<ProcessRecord>()];
        bytes[0] = RecordKind::Exit as u8;
        bytes[8] = 42;
        let Some(Record::Exit(record)) = parse(&bytes) else { panic!("not an exit") };
        assert_eq!(record.tgid, 42);
    }
}
