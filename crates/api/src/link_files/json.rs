//! Entries of JSON as they come: an object a line, a list of them, or what an API answered with the list somewhere in it.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::ops::ControlFlow;
use std::rc::Rc;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::record::{Record, error};
use super::{FileError, ROW_BYTES_MAX, ReadRecord};

/// Where lists stand in what APIs answer: ours and Shlink's (`data`), Shlink's (`shortUrls`), Bitly's and YOURLS's (`links`), and those
/// of plug-ins of YOURLS (`result`).
const LISTS: [&str; 4] = ["data", "shortUrls", "links", "result"];

/// What takes each record; breaks to end the reading.
type Take<'a> = dyn FnMut(ReadRecord) -> Result<ControlFlow<()>, FileError> + 'a;

/// Whether a field of an object is the list of entries, rather than a part of an entry.
pub(super) fn is_list(name: &str, value: &Value) -> bool {
    LISTS.contains(&name) && (value.is_array() || value.is_object())
}

/// Reads an object a line; a line that is none does not stop the rest.
pub(super) fn each_line(mut file: impl BufRead, take: &mut Take<'_>) -> Result<(), FileError> {
    let (mut number, mut line) = (0, Vec::new());
    loop {
        line.clear();
        let limit = ROW_BYTES_MAX as u64 + 1;
        if file.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        number += 1;
        if line.len() > ROW_BYTES_MAX {
            return Err(FileError::Row { line: number, what: "is longer than 256 KiB" });
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let read = match serde_json::from_slice::<Map<String, Value>>(&line) {
            Ok(object) => Ok(Record { line: number, fields: object.into_iter().collect() }),
            Err(wrong) => Err((number, error("", "malformed", format!("is not a JSON object: {wrong}")))),
        };
        if take(read)?.is_break() {
            return Ok(());
        }
    }
}

/// Reads entries of one or more values, wherever their lists stand.
pub(super) fn each_entry(file: impl BufRead, take: &mut Take<'_>) -> Result<(), FileError> {
    let place = Rc::new(Place { line: Cell::new(1), entry_bytes: Cell::new(0) });
    let mut values = serde_json::Deserializer::from_reader(Counted { file, place: Rc::clone(&place) });
    let mut outcome = Ok(());
    while values.end().is_err() {
        let entries = Entries { place: &place, take, outcome: &mut outcome };
        let read = entries.deserialize(&mut values);
        if let Err(error) = read {
            // a reader that has had enough, or why it broke, comes first
            outcome?;
            return match error.classify() {
                _ if error.to_string().starts_with(ENOUGH) => Ok(()),
                serde_json::error::Category::Io => Err(FileError::Read(error.into())),
                _ => Err(FileError::Json { line: place.line.get(), detail: error.to_string() }),
            };
        }
    }
    outcome
}

/// How a reader that has had enough ends the parser.
const ENOUGH: &str = "enough entries were read";

/// Where the parser is: it reads byte by byte.
struct Place {
    line: Cell<u64>,
    entry_bytes: Cell<usize>,
}

struct Counted<R> {
    file: R,
    place: Rc<Place>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        let breaks = buffer[..read].iter().filter(|byte| **byte == b'\n').count();
        self.place.line.update(|line| line + breaks as u64);
        self.place.entry_bytes.update(|bytes| bytes + read);
        if self.place.entry_bytes.get() > ROW_BYTES_MAX {
            return Err(io::Error::other("an entry is longer than 256 KiB"));
        }
        Ok(read)
    }
}

/// What is read at one place: an entry, or something with entries in it.
struct Entries<'a, 'take> {
    place: &'a Place,
    take: &'a mut Take<'take>,
    outcome: &'a mut Result<(), FileError>,
}

impl<'take> Entries<'_, 'take> {
    fn inner(&mut self) -> Entries<'_, 'take> {
        Entries { place: self.place, take: self.take, outcome: self.outcome }
    }

    fn hand_over<E: serde::de::Error>(&mut self, record: ReadRecord) -> Result<(), E> {
        match (self.take)(record) {
            Ok(ControlFlow::Continue(())) => Ok(()),
            Ok(ControlFlow::Break(())) => Err(E::custom(ENOUGH)),
            Err(error) => {
                *self.outcome = Err(error);
                Err(E::custom(ENOUGH))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Entries<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.place.entry_bytes.set(0);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("links as objects, or a list of them")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(self.inner())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        let line = self.place.line.get();
        let (mut fields, mut has_list) = (Vec::new(), false);
        while let Some(name) = object.next_key::<String>()? {
            // YOURLS numbers its links: `"link_1": {…}`
            let is_numbered = name.strip_prefix("link_").is_some_and(|n| n.parse::<u64>().is_ok());
            if LISTS.contains(&name.as_str()) || is_numbered {
                has_list = true;
                object.next_value_seed(self.inner())?;
            } else {
                fields.push((name, object.next_value::<Value>()?));
            }
        }
        if has_list || fields.is_empty() {
            return Ok(());
        }
        self.hand_over::<A::Error>(Ok(Record { line, fields }))
    }

    fn visit_str<E: serde::de::Error>(mut self, _: &str) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_u64<E: serde::de::Error>(mut self, _: u64) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_i64<E: serde::de::Error>(mut self, _: i64) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_f64<E: serde::de::Error>(mut self, _: f64) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_bool<E: serde::de::Error>(mut self, _: bool) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_unit<E: serde::de::Error>(mut self) -> Result<(), E> {
        self.not_an_object()
    }
}

impl Entries<'_, '_> {
    fn not_an_object<E: serde::de::Error>(&mut self) -> Result<(), E> {
        let line = self.place.line.get();
        self.hand_over(Err((line, error("", "malformed", "is not a JSON object"))))
    }
}
