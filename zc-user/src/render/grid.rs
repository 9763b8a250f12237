//! Columns that line up over the whole table.

use super::human::width;

/// Number of columns.
pub(super) const COLUMNS: usize = 9;
/// The first two columns and the last one are words; what is between are numbers.
const WORDS_FIRST: usize = 2;
/// The wanted width of a line.
const WANTED: usize = 80;
/// Before the first column.
const INDENT: usize = 2;

/// The cells of a row.
pub(super) type Cells = [String; COLUMNS];

/// Widths of columns.
pub(super) struct Grid {
    widths: [usize; COLUMNS],
    gap: usize,
}

impl Grid {
    /// Wide enough for all rows, with one space between columns when two would be too wide.
    pub(super) fn of<'a>(rows: impl IntoIterator<Item = &'a Cells>) -> Self {
        let mut widths = [0; COLUMNS];
        for row in rows {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = width(cell).max(*widest);
            }
        }
        let mut grid = Self { widths, gap: 2 };
        if grid.width() > WANTED {
            grid.gap = 1;
        }
        grid
    }

    /// The widest line that it makes.
    pub(super) fn width(&self) -> usize {
        // The last column always has two spaces before it.
        INDENT + self.widths.iter().sum::<usize>() + self.gap * (COLUMNS - 2) + 2
    }

    /// A line without its end; `last` is the last cell with its colours.
    pub(super) fn line(&self, cells: &Cells, last: &str) -> String {
        let mut line = " ".repeat(INDENT);
        let mut blanks = 0;
        for (index, cell) in cells.iter().enumerate() {
            let pad = self.widths[index] - width(cell).min(self.widths[index]);
            let (before, after) = if index < WORDS_FIRST { (0, pad) } else { (pad, 0) };
            if index + 1 == COLUMNS {
                if !cell.is_empty() {
                    line.push_str(&" ".repeat(blanks.max(2)));
                    line.push_str(last);
                }
            } else {
                line.push_str(&" ".repeat(blanks + before));
                line.push_str(cell);
                blanks = after + self.gap;
            }
        }
        line.truncate(line.trim_end_matches(' ').len());
        line
    }
}
