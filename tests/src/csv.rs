//! Just enough CSV (RFC 4180) to read a report back.

use std::collections::BTreeMap;

/// Every record as field by column name; panics when a record's length differs from the header's.
pub fn parse(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut records = split(text).into_iter();
    let header = records.next().expect("a header line");
    records
        .map(|record| {
            assert_eq!(record.len(), header.len(), "fields of {record:?}");
            header.iter().cloned().zip(record).collect()
        })
        .collect()
}

fn split(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (quoted, character) {
            (true, '"') if characters.peek() == Some(&'"') => {
                field.push('"');
                characters.next();
            }
            (_, '"') => quoted = !quoted,
            (false, ',') => record.push(std::mem::take(&mut field)),
            (false, '\r') => {}
            (false, '\n') => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            _ => field.push(character),
        }
    }
    assert!(!quoted, "a quote is left open");
    if !field.is_empty() || !record.is_empty() {
        record.push(field);
        records.push(record);
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_commas_and_line_breaks_stay_within_their_field() {
        let records = parse("a,b\n1,\"x,\"\"y\"\"\nz\"\n2,\n");
        assert_eq!(records.len(), 2);
        assert_eq!((records[0]["a"].as_str(), records[0]["b"].as_str()), ("1", "x,\"y\"\nz"));
        assert_eq!((records[1]["a"].as_str(), records[1]["b"].as_str()), ("2", ""));
    }

    #[test]
    #[should_panic(expected = "fields of")]
    fn a_short_record_is_an_error() {
        parse("a,b\n1\n");
    }
}
