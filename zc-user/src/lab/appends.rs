//! Where a shared mapping begins to win over write(2) for small records.

use serde::Serialize;

/// One way to append, at one number of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Way {
    /// Time of it all, while nothing is traced; the best of some runs.
    pub seconds: Option<f64>,
    /// System calls, as zc counted them.
    pub system_calls: Option<u64>,
    /// Mode switches, by calls and by page faults.
    pub mode_switches: Option<u64>,
    /// Page faults.
    pub faults: Option<u64>,
}

/// Both ways, at one number of records.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Records of 60 bytes.
    pub records: u64,
    /// write(2), a call for each.
    pub write: Way,
    /// A shared mapping.
    pub mapping: Way,
}

/// All numbers of records.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Appends {
    /// Fewest records first.
    pub points: Vec<Point>,
    /// The number of records from which on the mapping was faster at each larger number that was tried, too.
    pub mapping_wins_from: Option<u64>,
}

impl Appends {
    /// From its points, fewest records first.
    pub fn of(points: Vec<Point>) -> Self {
        let wins = |point: &&Point| {
            point.mapping.seconds.zip(point.write.seconds).is_some_and(|(mapping, write)| mapping < write)
        };
        let mapping_wins_from = points.iter().rev().take_while(wins).last().map(|point| point.records);
        Self { points, mapping_wins_from }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(records: u64, write: Option<f64>, mapping: Option<f64>) -> Point {
        let way = |seconds| Way { seconds, ..Way::default() };
        Point { records, write: way(write), mapping: way(mapping) }
    }

    #[test]
    fn the_mapping_wins_from_where_it_does_not_lose_again() {
        let from = |points: &[Point]| Appends::of(points.to_vec()).mapping_wins_from;
        let lose = point(50, Some(1.0), Some(2.0));
        let win = |records| point(records, Some(2.0), Some(1.0));
        let lost_again = point(200, Some(1.0), Some(1.0));
        assert_eq!(from(&[lose, win(100), lost_again, win(500), win(1000)]), Some(500));
        assert_eq!(from(&[lose, lost_again]), None);
        assert_eq!(from(&[win(50), win(100)]), Some(50));
        assert_eq!(from(&[win(50), point(100, None, Some(1.0))]), None);
        assert_eq!(from(&[]), None);
    }
}
