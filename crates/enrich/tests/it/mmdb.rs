//! Small files of MaxMind's format, as makers of location files lay theirs out.

use serde_json::Value;

/// Types of the format.
const TEXT: u8 = 2;
const DOUBLE: u8 = 3;
const U16: u8 = 5;
const U32: u8 = 6;
const MAP: u8 = 7;
const U64: u8 = 9;
const LIST: u8 = 11;
const FLAG: u8 = 14;

/// What stands between the tree and the records.
const SEPARATOR: [u8; 16] = [0; 16];

/// The bytes of a file with one node: the record of addresses from 0.0.0.0 on, and that of those from 128.0.0.0 on.
pub fn file(database_type: &str, low: &Value, high: &Value) -> Vec<u8> {
    let (mut records, mut nodes): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    for record in [low, high] {
        // pointers to records count from the number of nodes
        let pointer = 1 + SEPARATOR.len() + records.len();
        nodes.extend(&u32::try_from(pointer).expect("a small file").to_be_bytes()[1..]);
        write(record, &mut records);
    }
    let marker: &[u8] = b"\xab\xcd\xefMaxMind.com";
    [&nodes[..], &SEPARATOR, &records, marker, &metadata(database_type)].concat()
}

fn metadata(database_type: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let numbers = [
        ("binary_format_major_version", U16, 2),
        ("binary_format_minor_version", U16, 0),
        ("build_epoch", U64, 1_790_000_000),
        ("ip_version", U16, 4),
        ("node_count", U32, 1),
        ("record_size", U16, 24),
    ];
    let others = [
        ("database_type", Value::from(database_type)),
        ("description", serde_json::json!({ "en": database_type })),
        ("languages", serde_json::json!(["en"])),
    ];
    begin(MAP, numbers.len() + others.len(), &mut out);
    for (key, kind, number) in numbers {
        text(key, &mut out);
        unsigned(kind, number, &mut out);
    }
    for (key, value) in &others {
        text(key, &mut out);
        write(value, &mut out);
    }
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(value) => text(value, out),
        Value::Bool(value) => begin(FLAG, usize::from(*value), out),
        Value::Number(value) => match value.as_u64() {
            Some(value) => unsigned(U32, value, out),
            None => {
                begin(DOUBLE, 8, out);
                out.extend(value.as_f64().expect("a double").to_be_bytes());
            }
        },
        Value::Array(values) => {
            begin(LIST, values.len(), out);
            values.iter().for_each(|value| write(value, out));
        }
        Value::Object(values) => {
            begin(MAP, values.len(), out);
            for (key, value) in values {
                text(key, out);
                write(value, out);
            }
        }
        Value::Null => panic!("the format has none"),
    }
}

fn text(text: &str, out: &mut Vec<u8>) {
    begin(TEXT, text.len(), out);
    out.extend(text.bytes());
}

fn unsigned(kind: u8, number: u64, out: &mut Vec<u8>) {
    let bytes = number.to_be_bytes();
    let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    begin(kind, significant.len(), out);
    out.extend(significant);
}

/// Type and size. Types from 8 on have a byte of their own, and so have sizes from 29 to 284.
fn begin(kind: u8, size: usize, out: &mut Vec<u8>) {
    let byte = |number: usize| u8::try_from(number).expect("a small value");
    let size_bits = byte(size.min(29));
    match kind {
        0..=7 => out.push((kind << 5) | size_bits),
        _ => out.extend([size_bits, kind - 7]),
    }
    if size >= 29 {
        out.push(byte(size - 29));
    }
}
