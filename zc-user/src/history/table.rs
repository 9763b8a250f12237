//! Writing one Parquet file: rows are kept by column until there are enough for a row group.

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use parquet::{
    basic::Compression,
    data_type::{ByteArray, ByteArrayType, Int64Type},
    errors::Result as ParquetResult,
    file::{
        metadata::KeyValue,
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::parser::parse_message_type,
};

use super::{
    error::HistoryError,
    files,
    schema::{Column, SCHEMA, Table, Type},
    seal,
};

/// Rows of a row group.
const GROUP_ROWS: usize = 32 << 10;
/// Text of a row group, each one once, in bytes.
const GROUP_TEXT_BYTES: usize = 8 << 20;

/// What a row has in a column. Times are microseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Absent,
    Text(&'a str),
    Integer(i64),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<i32> for Value<'_> {
    fn from(number: i32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u64> for Value<'_> {
    /// Counts and times since boot: none has 64 bits in a lifetime.
    fn from(number: u64) -> Self {
        Self::Integer(number.cast_signed())
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

fn metadata(key: &str, value: &str) -> KeyValue {
    KeyValue::new(key.to_owned(), value.to_owned())
}

/// A column of the rows that are not written yet.
#[derive(Debug, Default)]
struct Cells {
    integers: Vec<i64>,
    /// Places in [`Texts`].
    texts: Vec<u32>,
    /// 1 where there is a value, 0 where there is none.
    levels: Vec<i16>,
}

/// A file that is being written.
pub(super) struct TableWriter {
    path: PathBuf,
    writer: SerializedFileWriter<File>,
    columns: Vec<(Column, Cells)>,
    rows: usize,
    texts: Texts,
}

/// The texts of a row group. The same ones come again and again: each is kept once.
#[derive(Default)]
struct Texts {
    places: HashMap<String, u32>,
    all: Vec<ByteArray>,
    bytes: usize,
}

impl TableWriter {
    /// A new file. What a crash left of an earlier attempt makes room for it.
    pub(super) fn create(path: &Path, table: Table) -> Result<Self, HistoryError> {
        files::remove(path)?;
        let file = files::create(path).map_err(HistoryError::io("create", path))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("zc version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(vec![
                metadata("zc.schema", SCHEMA),
                metadata(seal::KEY, seal::BLANK),
            ]))
            .build();
        let writer = parse_message_type(&table.message())
            .and_then(|schema| SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)))
            .map_err(|source| HistoryError::Parquet { path: path.to_path_buf(), source })?;
        Ok(Self {
            path: path.to_path_buf(),
            writer,
            columns: table.columns().map(|column| (column, Cells::default())).collect(),
            rows: 0,
            texts: Texts::default(),
        })
    }

    /// Adds a row: a value for each column, in their order.
    pub(super) fn push<'a>(
        &mut self,
        values: impl IntoIterator<Item = Value<'a>>,
    ) -> Result<(), HistoryError> {
        let mut values = values.into_iter();
        for (column, cells) in &mut self.columns {
            let value = values.next().unwrap_or(Value::Absent);
            cells.levels.push((!matches!(value, Value::Absent)).into());
            match (column.of, value) {
                (Type::Text, Value::Text(text)) => cells.texts.push(self.texts.place(text)),
                (Type::Integer | Type::Time, Value::Integer(number)) => cells.integers.push(number),
                (_, value) => {
                    debug_assert!(
                        matches!(value, Value::Absent) && !column.is_required,
                        "{column:?} {value:?}"
                    );
                }
            }
        }
        debug_assert!(values.next().is_none(), "a value without column");
        self.rows += 1;
        if self.rows >= GROUP_ROWS || self.texts.bytes >= GROUP_TEXT_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), HistoryError> {
        if self.rows == 0 {
            return Ok(());
        }
        self.write_group().map_err(|source| HistoryError::Parquet { path: self.path.clone(), source })?;
        self.rows = 0;
        self.texts = Texts::default();
        for (_, cells) in &mut self.columns {
            let Cells { integers, texts, levels } = cells;
            integers.clear();
            texts.clear();
            levels.clear();
        }
        Ok(())
    }

    fn write_group(&mut self) -> ParquetResult<()> {
        let mut group = self.writer.next_row_group()?;
        for (column, cells) in &self.columns {
            let Some(mut writer) = group.next_column()? else { break };
            cells.write(*column, &self.texts, &mut writer)?;
            writer.close()?;
        }
        group.close()?;
        Ok(())
    }

    /// Writes what is left; when this returns, the file is whole and on the disk.
    pub(super) fn finish(mut self) -> Result<(), HistoryError> {
        self.flush()?;
        let Self { path, writer, .. } = self;
        let file =
            writer.into_inner().map_err(|source| HistoryError::Parquet { path: path.clone(), source })?;
        seal::seal(&file).and_then(|()| file.sync_all()).map_err(HistoryError::io("write", &path))
    }
}

impl Texts {
    fn place(&mut self, text: &str) -> u32 {
        if let Some(&place) = self.places.get(text) {
            return place;
        }
        // Fewer than there are cells in a row group.
        let place = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.bytes += text.len();
        self.all.push(ByteArray::from(text));
        self.places.insert(text.to_owned(), place);
        place
    }
}

impl Cells {
    fn write(
        &self,
        column: Column,
        all: &Texts,
        writer: &mut SerializedColumnWriter<'_>,
    ) -> ParquetResult<()> {
        let Self { integers, texts, levels } = self;
        let levels = (!column.is_required).then_some(levels.as_slice());
        match column.of {
            Type::Text => {
                let texts: Vec<_> =
                    texts.iter().filter_map(|&place| all.all.get(place as usize).cloned()).collect();
                writer.typed::<ByteArrayType>().write_batch(&texts, levels, None)?
            }
            Type::Integer | Type::Time => writer.typed::<Int64Type>().write_batch(integers, levels, None)?,
        };
        Ok(())
    }
}
