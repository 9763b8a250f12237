//! Reading one Parquet file: columns by their names, a few thousand rows at a time.
//!
//! Columns that this version does not know are passed over; those that a file does not have are absent in all its rows.

use std::{fs::File, vec};

use parquet::{
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::{ByteArray, DataType},
    errors::ParquetError,
    file::reader::{FileReader as _, SerializedFileReader},
};

use super::{
    schema::{Column, Table, Type},
    seal,
};

/// Rows that are in memory at a time.
const BATCH_ROWS: usize = 4096;

/// Why a file cannot be read on.
pub(super) type Reason = String;

/// Values of a column in a batch.
enum Cells {
    Absent,
    Integers(Vec<Option<i64>>),
    Texts(Vec<Option<ByteArray>>),
}

/// Reads a file row by row.
pub(super) struct TableReader {
    file: SerializedFileReader<File>,
    /// Columns of the table, and where the file has them.
    columns: Vec<(Column, Option<usize>)>,
    groups: std::ops::Range<usize>,
    /// Of the row group that is being read.
    readers: Vec<Option<ColumnReader>>,
    rows_left: usize,
    batch: Vec<Cells>,
    batch_rows: usize,
    row: usize,
}

fn reason(error: &ParquetError) -> Reason {
    error.to_string()
}

impl TableReader {
    pub(super) fn new(file: File, table: Table) -> Result<Self, Reason> {
        seal::check(&file)?;
        let file = SerializedFileReader::new(file).map_err(|error| reason(&error))?;
        let schema = file.metadata().file_metadata().schema_descr();
        let place = |name| {
            (0..schema.num_columns()).find(|&index| {
                let column = schema.column(index);
                column.path().parts().len() == 1 && column.name() == name && column.max_rep_level() == 0
            })
        };
        let columns = table.columns().map(|column| (column, place(column.name))).collect();
        let groups = 0..file.num_row_groups();
        Ok(Self {
            file,
            columns,
            groups,
            readers: Vec::new(),
            rows_left: 0,
            batch: Vec::new(),
            batch_rows: 0,
            row: 0,
        })
    }

    /// The next row, if there is one and `read` takes it.
    pub(super) fn next_if<T>(
        &mut self,
        read: impl FnOnce(&mut Row<'_>) -> Result<Option<T>, Reason>,
    ) -> Result<Option<T>, Reason> {
        while self.row == self.batch_rows {
            if !self.next_batch()? {
                return Ok(None);
            }
        }
        let mut row = Row { columns: &self.columns, batch: &self.batch, index: self.row, column: 0 };
        let taken = read(&mut row)?;
        self.row += usize::from(taken.is_some());
        Ok(taken)
    }

    /// Whether there was one.
    fn next_batch(&mut self) -> Result<bool, Reason> {
        while self.rows_left == 0 {
            let Some(index) = self.groups.next() else { return Ok(false) };
            let group = self.file.get_row_group(index).map_err(|error| reason(&error))?;
            self.rows_left = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
            let open = |&(_, place): &(Column, Option<usize>)| {
                place.map(|place| group.get_column_reader(place)).transpose()
            };
            self.readers =
                self.columns.iter().map(open).collect::<Result<_, _>>().map_err(|error| reason(&error))?;
        }
        let rows = self.rows_left.min(BATCH_ROWS);
        self.batch.clear();
        for ((column, _), reader) in self.columns.iter().zip(&mut self.readers) {
            self.batch.push(Cells::read(*column, reader.as_mut(), rows)?);
        }
        (self.batch_rows, self.row) = (rows, 0);
        self.rows_left -= rows;
        Ok(true)
    }
}

impl Cells {
    fn read(column: Column, reader: Option<&mut ColumnReader>, rows: usize) -> Result<Self, Reason> {
        match (column.of, reader) {
            (_, None) => Ok(Self::Absent),
            (Type::Integer | Type::Time, Some(ColumnReader::Int64ColumnReader(reader))) => {
                values(column, reader, rows).map(Self::Integers)
            }
            (Type::Text, Some(ColumnReader::ByteArrayColumnReader(reader))) => {
                values(column, reader, rows).map(Self::Texts)
            }
            _ => Err(format!("the column {} is of another type", column.name)),
        }
    }
}

fn values<T: DataType>(
    column: Column,
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
) -> Result<Vec<Option<T::T>>, Reason> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let mut read = 0;
    while read < rows {
        let (records, ..) = reader
            .read_records(rows - read, Some(&mut levels), None, &mut values)
            .map_err(|error| reason(&error))?;
        if records == 0 {
            return Err(format!("the column {} has fewer rows than the others", column.name));
        }
        read += records;
    }
    let is_required = values.len() == rows;
    let mut values: vec::IntoIter<_> = values.into_iter();
    let value = |row: usize| {
        let is_there = is_required || levels.get(row).is_some_and(|&level| level > 0);
        if is_there { values.next() } else { None }
    };
    Ok((0..rows).map(value).collect())
}

/// A row, whose columns are taken one after the other.
pub(super) struct Row<'a> {
    columns: &'a [(Column, Option<usize>)],
    batch: &'a [Cells],
    index: usize,
    column: usize,
}

impl<'a> Row<'a> {
    /// Passes columns over.
    pub(super) fn skip(&mut self, columns: usize) {
        self.column += columns;
    }

    pub(super) fn integer_if_any(&mut self) -> Option<i64> {
        let cells = self.batch.get(self.column);
        self.column += 1;
        match cells {
            Some(Cells::Integers(values)) => values.get(self.index).copied().flatten(),
            _ => None,
        }
    }

    pub(super) fn text_if_any(&mut self) -> Result<Option<&'a str>, Reason> {
        let cells = self.batch.get(self.column);
        self.column += 1;
        let Some(Cells::Texts(values)) = cells else { return Ok(None) };
        let Some(Some(text)) = values.get(self.index) else { return Ok(None) };
        text.as_utf8().map(Some).map_err(|error| reason(&error))
    }

    /// What every file has had.
    pub(super) fn integer(&mut self) -> Result<i64, Reason> {
        let column = self.column;
        self.integer_if_any().ok_or_else(|| self.missing(column))
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Reason> {
        let column = self.column;
        self.text_if_any()?.ok_or_else(|| self.missing(column))
    }

    fn missing(&self, column: usize) -> Reason {
        let name = self.columns.get(column).map_or("", |(column, _)| column.name);
        format!("a row has nothing in the column {name}")
    }
}
